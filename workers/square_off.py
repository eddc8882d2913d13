"""The watch of market time: intraday positions are squared off when the market's own clock says so.

One clock for all: the house's hours are held against what each exchange's day has come to, as the gates do
(domain/exchange_terms.py), so a played day squares off, too, and a process that was away makes up for what it
missed as long as the market takes closing orders. When it takes none any more, that is put on record with an
alert, and made up for at the next moment at which it does. Several workers may watch: one square-off of a
class runs at a time, and it closes only what no order is closing. Called by workers/operations.py.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from datetime import time as clock

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from temporalio.service import RPCError

from activities.wind_down import SQUARE_OFF, SquareOffPlan
from bus.wakeups import Wakeup
from domain.broker_hours import BrokerHours
from domain.orders import OrderType, Product, Validity
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS
from domain.time import ist_ns, trade_date
from domain.wind_down import OpenPosition, Selection
from storage.database import Database, StoreUnavailable
from storage.market.phases import ClassPhase, MarketPhases
from storage.risk import risk_alerts, square_offs, wind_downs

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0
"""Between two square-offs of a class in one phase: what the first left open may be under way."""
CARRIED_SECONDS = 30.0
"""Between two looks for positions of an earlier day."""
CLOSING = OrderType.MARKET, Validity.DAY
Start = Callable[[SquareOffPlan], Awaitable[None]]
log = structlog.get_logger()


@dataclass(slots=True)
class _Pace:
    """When something was last done for a class, and in which phase that was."""

    phase: MarketPhase | None = None
    at: dict[str, float] = field(default_factory=dict)

    def due(self, what: str, phase: MarketPhase, seconds: float) -> bool:
        """Whether it is time again; a new phase makes everything due."""
        if phase is not self.phase:
            self.phase, self.at = phase, {}
        last = self.at.get(what)
        if last is not None and time.monotonic() - last < seconds:
            return False
        self.at[what] = time.monotonic()
        return True


class SquareOffWatch:
    """`start` starts a square-off, unless one of its class is running."""

    def __init__(self, database: Database, redis: Redis, hours: BrokerHours, start: Start) -> None:
        self._database, self._redis, self._hours, self._start = database, redis, hours, start
        self._phases = MarketPhases(database)
        self._paces: dict[tuple[str, str], _Pace] = {}

    async def run(self, announced: Wakeup) -> None:
        """Look at every phase that is announced, and once a second."""
        while True:
            await announced.wait(LOOK_SECONDS)
            try:
                await self.look(time.time_ns())
            except (StoreUnavailable, RedisError, OSError, RPCError) as error:
                # What cannot be done now is done at the next look, as long as the market lets it.
                log.warning("square_off_not_watched", error=str(error))

    async def look(self, now_ns: int) -> None:
        """Square off whatever is due."""
        await self._phases.refresh()
        missed = {(one.exchange, one.session_class): one for one in await square_offs.missed(self._database)}
        for one in self._phases.classes(now_ns):
            name = one.exchange, one.session_class
            pace = self._paces.setdefault(name, _Pace())
            if name in missed:
                await self._make_up(one, missed[name], pace, now_ns)
            day = self._due_day(one)
            if day is None or one.market_ns is None:
                continue
            if day == trade_date(one.market_ns):
                await self._square_off(one, day, pace, now_ns)
            elif one.market_ns == now_ns and name not in missed:
                await self._look_for_carried(one, day, pace, now_ns)

    def _due_day(self, one: ClassPhase) -> date | None:
        """The day whose square-off has come last."""
        if one.market_ns is None:
            return None
        return self._hours.last_square_off(one.market_ns, one.session_class)

    async def _square_off(self, one: ClassPhase, day: date, pace: _Pace, now_ns: int) -> None:
        """The market is past the square-off of its day."""
        assert one.market_ns is not None
        if _takes(one.phase):
            selection = _selection(one)
            if await self._has_work(one.phase, selection) and pace.due(SQUARE_OFF, one.phase, AGAIN_SECONDS):
                await self._start(SquareOffPlan(one.session_class, day.isoformat(), one.exchange))
        elif not self._hours.takes_later(one.market_ns, one.session_class, *CLOSING):
            await self._miss(one, day, now_ns)

    async def _look_for_carried(self, one: ClassPhase, day: date, pace: _Pace, now_ns: int) -> None:
        """A day has begun, and nobody has looked since the one before: what it left open was missed.

        A position of a day that is played has no such bound; it is closed at the end of that day.
        """
        if pace.due("carried", one.phase, CARRIED_SECONDS):
            await self._miss(one, day, ist_ns(trade_date(now_ns), clock()))

    async def _miss(self, one: ClassPhase, day: date, before_ns: int) -> None:
        # A fill of the market's last moment may not be booked yet.
        left = [position for position in await self._open(_selection(one, before_ns)) if position.uncovered]
        if not left:
            return
        async with self._database.transaction() as conn:
            alert = await square_offs.record(conn, one.exchange, one.session_class, day, before_ns, left)
        if alert is not None:
            await risk_alerts.tell(self._redis, [alert])

    async def _make_up(
        self, one: ClassPhase, missed: square_offs.MissedSquareOff, pace: _Pace, now_ns: int
    ) -> None:
        selection = _selection(one, missed.before_ns)
        if not await self._open(selection):
            await square_offs.close(self._database, missed, now_ns)
            log.info("square_off_made_up", exchange=one.exchange, session_class=one.session_class)
        elif (
            _takes(one.phase)
            and await self._has_work(one.phase, selection)
            and pace.due(SQUARE_OFF, one.phase, AGAIN_SECONDS)
        ):
            day = missed.day.isoformat()
            await self._start(SquareOffPlan(one.session_class, day, one.exchange, missed.before_ns))

    async def _has_work(self, phase: MarketPhase, selection: Selection) -> bool:
        """Whether orders are to be cancelled or positions to be closed.

        In the continuous market an order that rests closes nothing; in an auction it waits for the price.
        """
        left = await self._open(selection)
        if phase is MarketPhase.CONTINUOUS and left:
            return True
        if any(position.uncovered for position in left):
            return True
        return await wind_downs.has_pending_of_clients(self._database, selection)

    async def _open(self, selection: Selection) -> list[OpenPosition]:
        return await wind_downs.open_positions(self._database, selection)


def _takes(phase: MarketPhase) -> bool:
    return PERMISSIONS[phase].takes(*CLOSING)


def _selection(one: ClassPhase, before_ns: int | None = None) -> Selection:
    return Selection(
        exchange=one.exchange,
        session_class=one.session_class,
        product=Product.MIS,
        carried_before_ns=before_ns,
    )
