"""The market data distributor's process: feeds in, conflated ticks onto the bus, candles into the database.

The feeds never wait: Redis or PostgreSQL may be away, what they missed is told when they are back. Started by
`hundi distributor`; SIGTERM writes the candles of the minute in hand and ends.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import structlog
import uvloop

from bus.background import end
from bus.health import Reporter, reporting
from bus.redis_client import open_redis
from bus.tick_bus import Publisher
from config.settings import Settings, settings
from domain.instruments import Instrument
from exchange.feed import FeedLine, feed_address, feed_port
from realtime.feed.datagrams import DatagramSocket
from realtime.feed.distributor import Distributor
from realtime.feed.feed_handler import FeedHandler
from storage.database import Database, StoreUnavailable, open_database
from storage.market import candles
from storage.market.instruments import load_instruments
from telemetry.process import telemetry
from workers.series_roll import end_at_next_roll

CANDLE_SECONDS = 5.0
HEALTH_SECONDS = 1.0
log = structlog.get_logger()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings().require("postgres_url", "redis_url")
    end_at_next_roll()
    with telemetry(settings(), "distributor"):
        uvloop.run(run(settings()))


async def run(config: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        open_database(config.postgres_dsn, size=2, application="distributor") as database,
        open_redis(config.redis_dsn) as redis,
    ):
        instruments = list((await load_instruments(database)).values())
        handlers = [_handler(config, exchange, instruments) for exchange in config.exchanges]
        distributor = Distributor(Publisher(redis), handlers)
        keeper = _CandleKeeper(database, instruments, handlers)
        # A part that dies by a bug takes the process with it rather than limping on.
        async with reporting(redis, "distributor") as health, asyncio.TaskGroup() as parts:
            work = (
                distributor.read(),
                distributor.watch(),
                distributor.publish(),
                keeper.run(),
                _describe(health, distributor, handlers),
            )
            tasks = [parts.create_task(part) for part in work]
            await stopped.wait()
            await end(*tasks)
        await keeper.write()


def _handler(config: Settings, exchange: str, instruments: Sequence[Instrument]) -> FeedHandler:
    lines = [
        DatagramSocket(feed_address(config, exchange, line), config.host) for line in (FeedLine.A, FeedLine.B)
    ]
    return FeedHandler(
        exchange,
        [instrument.token for instrument in instruments if instrument.exchange == exchange],
        lines,
        DatagramSocket((config.host, 0), config.host),
        (config.host, feed_port(config, exchange, FeedLine.SNAPSHOT)),
        int(config.feed_silence_seconds * 1e9),
        time.monotonic_ns(),
    )


class _CandleKeeper:
    """Writes the candles that have changed; those that the database did not take are tried again."""

    def __init__(
        self, database: Database, instruments: Sequence[Instrument], handlers: Sequence[FeedHandler]
    ) -> None:
        self._database, self._handlers = database, handlers
        self._ids = {(i.exchange, i.token): i.instrument_id for i in instruments}
        self._kept: dict[tuple[str, int], candles.Candle] = {}

    async def run(self) -> NoReturn:
        while True:
            await asyncio.sleep(CANDLE_SECONDS)
            await self.write()

    async def write(self) -> None:
        for handler in self._handlers:
            for row in handler.candles.take():
                candle = self._candle(handler.exchange, row)
                self._kept[candle.instrument_id, candle.minute_ns] = candle
        try:
            await candles.write(self._database, list(self._kept.values()))
        except StoreUnavailable as error:
            log.warning("candles_not_written", candles=len(self._kept), error=str(error))
        else:
            self._kept.clear()

    def _candle(self, exchange: str, row: np.void) -> candles.Candle:
        token, *numbers = row.item()
        return candles.Candle(self._ids[exchange, token], *numbers)


async def _describe(health: Reporter, distributor: Distributor, handlers: Sequence[FeedHandler]) -> NoReturn:
    while True:
        feeds = "; ".join(_line(handler, time.monotonic_ns()) for handler in handlers)
        health.detail = f"{feeds}; {distributor.published} rows published"
        await asyncio.sleep(HEALTH_SECONDS)


def _line(handler: FeedHandler, now_ns: int) -> str:
    counts, silent = handler.counts, handler.silent_lines(now_ns)
    parts = [f"{handler.exchange} {counts.ticks} ticks, {counts.gaps} gaps of {counts.missed} packets"]
    parts += [f"line {name} silent" for name in silent]
    parts += ["waiting for a snapshot"] if handler.wanted is not None else []
    return ", ".join(parts)


if __name__ == "__main__":
    main()
