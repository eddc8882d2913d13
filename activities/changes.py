"""What a client asks of an order that is under way: change it, or take it back.

Each is keyed by the number that the workflow gives the request; the exchange's answer comes as a report.
"""

import time
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from temporalio import activity

from activities.decision import PASSED, REFUSED, Decision
from activities.trading_day import TradingDay
from domain.changes import Change, change_refusals, phase_refusal
from domain.departure import Departure, Entry, departure, intraday_refusal
from domain.instruments import Instrument
from domain.margin import unit_margin
from domain.orders import OrderTerms, PlacedOrder
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.time import trade_date
from domain.trading_states import enlarges
from storage import cancellations, changes, updates, wakeups
from storage.audit import OrderUpdate
from storage.changes import Standing
from storage.database import Database
from storage.market_phases import MarketPhases
from storage.portfolios import Portfolios


def request_id(placed: PlacedOrder, number: int) -> str:
    """ClOrdID (11) of the order's n-th request after the order itself."""
    return f"{placed.order_id}-{number}"


class Changes:
    def __init__(
        self,
        database: Database,
        redis: Redis,
        instruments: Mapping[str, Instrument],
        day: TradingDay,
        phases: MarketPhases,
        portfolios: Portfolios,
        intraday_percent: int,
    ) -> None:
        self._database, self._redis, self._portfolios = database, redis, portfolios
        self._instruments, self._day, self._phases = instruments, day, phases
        self._intraday_percent = intraday_percent

    @activity.defn(name="change")
    async def change(self, placed: PlacedOrder, number: int, asked: Change) -> Decision:
        """Put an order right that has not left, or ask the exchange to replace it."""
        while True:
            async with self._database.transaction() as conn:
                cl_ord_id = request_id(placed, number)
                judge = self._judge(asked)
                changed = await changes.change(conn, self._portfolios, placed, cl_ord_id, asked, judge)
            if not changed.stale:
                break
            await self._portfolios.view.ensure(placed.user_id)
        if changed.refusal is not None:
            return _refused(changed.refusal)
        await self._tell(placed, [changed.told] if changed.told else [])
        said = "Changed before it left." if changed.told else "The exchange is asked to change the order."
        return Decision(said, PASSED, time.time_ns())

    @activity.defn(name="cancel")
    async def cancel(self, placed: PlacedOrder, number: int) -> Decision:
        """Withdraw the order, or ask the exchange to cancel it."""
        async with self._database.transaction() as conn:
            cancelled = await cancellations.cancel(conn, placed, request_id(placed, number))
        if cancelled.refusal is not None:
            return _refused(cancelled.refusal)
        await self._tell(placed, [cancelled.told] if cancelled.told else [])
        said = "Withdrawn before it left." if cancelled.told else "The exchange is asked to cancel."
        return Decision(said, PASSED, time.time_ns())

    def _judge(self, asked: Change) -> changes.Judge:
        def judge(stands: Standing, terms: OrderTerms) -> tuple[Departure, int] | Refusal:
            now_ns = time.time_ns()
            instrument = self._phases.present(self._instruments[terms.instrument_id])
            today = trade_date(now_ns)
            refusals = change_refusals(stands.terms, asked, stands.filled, stands.changes, instrument, today)
            closed = None if stands.unsent else phase_refusal(terms, self._phases.phase(instrument))
            over = self._intraday(stands.terms, terms, instrument, now_ns)
            refusals += [refusal for refusal in (closed, over) if refusal is not None]
            if refusals:
                return refusals[0]
            # An order that can be changed has a price or a trigger: no last price is needed.
            leaves = departure(
                terms, instrument, Entry(MarketPhase.CONTINUOUS), None, self._day.protection(now_ns)
            )
            if isinstance(leaves, Refusal):
                return leaves
            percent = self._intraday_percent
            unit = unit_margin(instrument.kind, terms.product, terms.side, leaves.margin_price, percent)
            return Refusal(RejectCode.MARGIN_UNKNOWN) if unit is None else (leaves, unit)

        return judge

    def _intraday(
        self, terms: OrderTerms, changed: OrderTerms, instrument: Instrument, now_ns: int
    ) -> Refusal | None:
        """From the square-off on, an intraday order may be made less, not more."""
        if not enlarges(terms, changed):
            return None
        market_ns = self._phases.market_time_ns(instrument.exchange, now_ns)
        session_class = self._day.session_class(instrument, now_ns)
        return intraday_refusal(changed, session_class, self._day.hours, market_ns)

    async def _tell(self, placed: PlacedOrder, told: Sequence[OrderUpdate]) -> None:
        await wakeups.wake(self._redis, wakeups.outbox(placed.terms.exchange))
        await updates.publish(self._redis, told)


def _refused(refusal: Refusal) -> Decision:
    return Decision(refusal.sentence, REFUSED, time.time_ns(), refusal.code, refusal.sentence)
