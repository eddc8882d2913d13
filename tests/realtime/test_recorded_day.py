"""A real day's end through the exchange's tape, UDP, the distributor and the bus: the file's last prices.

Far faster than 60 times: a recorded second is a beat of the tape. Packets may be lost on the way; the end
must be the same, because gaps are healed. HUNDI_DAY_FROM="2021-06-11 09:00" plays the whole day.
"""

import asyncio
import csv
import gzip
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest
from redis.asyncio import Redis

from config.settings import Settings
from domain.money import paise
from exchange.feed import FeedLine, feed_address, feed_port
from exchange.master import read_master
from exchange.simulator.tape import FeedSocket, Tape
from exchange.ticks import Ticks, group_of
from realtime.bus import Watcher
from tests.realtime.test_distributor_process import Distributor
from tests.support.eventually import eventually

MASTER = read_master("NSE")
FROM = os.environ.get("HUNDI_DAY_FROM", "2021-06-11 15:10")


@pytest.fixture(scope="module")
def recorded() -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HUNDI_MARKET_DATA", default)) / "ticks"
    return next(folder.glob("nse_ticks_2021-06-11*.csv.gz"))


class RecordedExchange:
    """Plays the file to the feed of these settings; `last` is the last price by token."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._file = file
        self._tape = Tape("NSE", MASTER.values(), int(time.time()))
        lines = [feed_address(settings, "NSE", line) for line in (FeedLine.A, FeedLine.B)]
        self._feed = FeedSocket(settings.host, lines, feed_port(settings, "NSE", FeedLine.SNAPSHOT))
        self._volumes: dict[str, int] = {}
        self.last: dict[int, int] = {}
        self.ticks = 0

    def play(self) -> None:
        with gzip.open(self._file, "rt", encoding="utf-8-sig", newline="") as rows:
            for _, second in groupby(_published(rows), key=lambda row: row["timestamp_ist"]):
                for row in second:
                    self._trade(row["symbol"], paise(row["ltp"]), int(row["cum_volume"]))
                self.beat(self._tape.ticks(time.time_ns()))

    def beat(self, datagrams: list[bytes] | None = None) -> None:
        now_ns = time.time_ns()
        self._feed.send(datagrams or [self._tape.heartbeat(now_ns)])
        self._feed.answer_snapshots(self._tape, now_ns)

    def close(self) -> None:
        self._feed.close()

    def _trade(self, symbol: str, price: int, volume: int) -> None:
        quantity = max(0, volume - self._volumes.get(symbol, volume))
        self._volumes[symbol] = volume
        self._tape.trade(symbol, price, quantity, time.time_ns())
        self.last[MASTER[symbol].token] = price
        self.ticks += 1


def _published(rows: Iterator[str]) -> Iterator[dict[str, str]]:
    """Of our instruments, from FROM on."""
    return (row for row in csv.DictReader(rows) if row["symbol"] in MASTER and row["timestamp_ist"] >= FROM)


@pytest.fixture
async def distributor(servers: Settings) -> AsyncIterator[Distributor]:
    opened = Distributor(servers)
    await opened.ready()
    yield opened
    assert opened.end(signal.SIGTERM) == 0


@pytest.mark.timeout(300)
async def test_the_last_price_of_every_instrument_is_the_last_one_of_the_recorded_day(
    distributor: Distributor, redis: Redis, recorded: Path
) -> None:
    prices: dict[int, int] = {}

    def told(_: str, rows: Ticks) -> None:
        prices.update(zip(rows["token"].tolist(), rows["ltp"].tolist(), strict=True))

    watcher = Watcher(redis, told)
    running = asyncio.create_task(watcher.run())
    for group in {group_of("NSE", instrument.token) for instrument in MASTER.values()}:
        told(group, await watcher.watch(group))
    exchange = RecordedExchange(distributor.settings, recorded)
    await asyncio.to_thread(exchange.play)
    assert exchange.ticks > 30_000 and len(exchange.last) > 40

    def all_last() -> bool:
        exchange.beat()
        return {token: prices.get(token) for token in exchange.last} == exchange.last

    await eventually(all_last, within=20)
    exchange.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
