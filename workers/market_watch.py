"""What the operations worker watches: the index for a market-wide halt, accounts for their exposure, releases
for those that nobody confirms.

Prices come from the tick bus. An index value is acted on as it arrives; a price that is stale or that a dead
distributor left behind counts for nothing. Several workers may watch: what they find is written once. Called
by workers/operations.py.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.last_prices import LastPrices
from bus.tick_bus import Watcher
from bus.ticks import Ticks, group_of
from bus.wakeups import Wakeup
from config.rules import halt_rules
from domain.instruments import Instrument
from domain.market_halts import market_halt
from domain.time import trade_date
from storage.database import Database, StoreUnavailable
from storage.risk import exposures, halts, releases, risk_alerts, trading_states
from storage.risk.risk_alerts import RiskAlert

INDICES = ("NSE:NIFTY 50", "BSE:SENSEX")
"""Either may halt the market; one that is not in the master cannot be watched."""
EXPOSURE_SECONDS, REOPEN_SECONDS, INDEX_SECONDS, EXPIRE_SECONDS = 1.0, 0.5, 1.0, 1.0
log = structlog.get_logger()


class MarketWatch:
    """Its `parts` run side by side."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        instruments: Mapping[str, Instrument],
        exchanges: Sequence[str],
    ) -> None:
        self._database, self._redis, self._exchanges = database, redis, exchanges
        self._instruments = instruments
        self._prices = LastPrices(redis)
        self._indices = {(i.exchange, i.token): i for name in INDICES if (i := instruments.get(name))}
        self._watcher = Watcher(redis, self._seen)
        self._values: asyncio.Queue[tuple[Instrument, int, int]] = asyncio.Queue()

    def parts(self, limits_changed: Wakeup) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._watcher.run()
        yield self._watch_indices()
        yield self._halt()
        yield self._reopen()
        yield self._expire()
        yield self._reduce(limits_changed)

    async def _watch_indices(self) -> None:
        """Each value as it comes, and each that stands: at the start, or once the distributor is back."""
        for group in {group_of(exchange, token) for exchange, token in self._indices}:
            await self._watcher.watch(group)
        indices = list(self._indices.values())
        while True:
            for index, quote in zip(indices, await self._prices.quotes(indices), strict=True):
                if quote is not None and not quote.stale:
                    self._values.put_nowait((index, quote.ltp, quote.previous_close))
            await asyncio.sleep(INDEX_SECONDS)

    def _seen(self, group: str, rows: Ticks) -> None:
        exchange = group.partition(":")[0]
        for row in rows[(rows["stale"] == 0) & (rows["ltp"] > 0)]:
            index = self._indices.get((exchange, int(row["token"])))
            if index is not None:
                self._values.put_nowait((index, int(row["ltp"]), int(row["previous_close"])))

    async def _halt(self) -> None:
        while True:
            index, value, told_close = await self._values.get()
            # The feed's own close goes before the master's: both are the exchange's, the feed is of today.
            await self._tried(self._halt_by(index, value, told_close or index.previous_close))

    async def _halt_by(self, index: Instrument, value: int, close: int) -> None:
        now_ns = time.time_ns()
        day = trade_date(now_ns)
        rules = halt_rules(day)
        if market_halt(close, value, now_ns, 0, rules) is None:
            return
        if await self._prices.price(index) is None:
            log.warning("index_value_not_certain", index=index.instrument_id, value=value)
            return
        async with self._database.transaction() as conn:
            fired = await halts.fired_percent(conn, day)
            halted = market_halt(close, value, now_ns, fired, rules)
            if halted is None:
                return
            alerts = await halts.halt(conn, day, index.instrument_id, value, halted)
        await self._tell(*alerts)

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(REOPEN_SECONDS)
            await self._tried(self._reopen_once())

    async def _reopen_once(self) -> None:
        now_ns = time.time_ns()
        async with self._database.transaction() as conn:
            alert = await halts.reopen(conn, trade_date(now_ns), now_ns)
        if alert is not None:
            await self._tell(alert)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            await self._tried(self._expire_once())

    async def _expire_once(self) -> None:
        async with self._database.transaction() as conn:
            alerts = await releases.expire(conn, time.time_ns())
        await risk_alerts.tell(self._redis, alerts)

    async def _reduce(self, limits_changed: Wakeup) -> None:
        while True:
            await limits_changed.wait(EXPOSURE_SECONDS)
            await self._tried(self._reduce_once())

    async def _reduce_once(self) -> None:
        positions = await exposures.open_positions(self._database, trade_date(time.time_ns()))
        named = {position.priced_by for position in positions}
        prices = await self._prices.prices([i for name, i in self._instruments.items() if name in named])
        for (user_id, client_id), (exposure, limit) in exposures.passed(positions, prices).items():
            async with self._database.transaction() as conn:
                alert = await exposures.reduce(conn, user_id, client_id, exposure, limit)
            if alert is not None:
                await self._tell(alert)

    async def _tell(self, *alerts: RiskAlert) -> None:
        if alerts:
            await trading_states.tell(self._redis, self._exchanges)
            await risk_alerts.tell(self._redis, list(alerts))

    async def _tried(self, look: Coroutine[Any, Any, None]) -> None:
        """What cannot be seen now is looked at again; the books and the bus have their own alarms."""
        try:
            await look
        except (StoreUnavailable, RedisError, OSError) as error:
            log.warning("market_not_watched", error=str(error))
