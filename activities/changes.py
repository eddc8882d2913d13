"""What a client asks of an order that is under way: change it, or take it back.

Each is keyed by the number that the workflow gives the request; the exchange's answer comes as a report.
"""

import time
from collections.abc import Sequence

from redis.asyncio import Redis
from temporalio import activity

from bus import order_updates, wakeups
from bus.order_updates import OrderUpdate
from domain.changes import Change
from domain.orders import OrderTerms, PlacedOrder
from domain.rejects import Refusal
from pretrade.checks import PreTradeChecks, PricedOrder
from storage.books.keeping import BookKeeping
from storage.database import Database
from storage.orders import changes
from storage.orders.cancellations import CancelledBy
from storage.orders.canceller import OrderCanceller
from storage.orders.changes import ChangeableOrder
from workflow_api.results import PASSED, Decision


def request_id(placed: PlacedOrder, number: int) -> str:
    """ClOrdID (11) of the order's n-th request after the order itself."""
    return f"{placed.order_id}-{number}"


class Changes:
    def __init__(
        self,
        database: Database,
        redis: Redis,
        judge: PreTradeChecks,
        keeping: BookKeeping,
    ) -> None:
        self._database, self._redis = database, redis
        self._judge, self._keeping = judge, keeping
        self._canceller = OrderCanceller(database, redis)

    @activity.defn(name="change")
    async def change(self, placed: PlacedOrder, number: int, asked: Change) -> Decision:
        """Put an order right that has not left, or ask the exchange to replace it."""
        last = await self._judge.last_trades(placed.terms)

        def judge(stands: ChangeableOrder, terms: OrderTerms) -> PricedOrder | Refusal:
            return self._judge.change(stands, asked, terms, last)

        while True:
            async with self._database.transaction() as conn:
                cl_ord_id = request_id(placed, number)
                changed = await changes.change(
                    conn,
                    self._keeping.portfolios,
                    placed,
                    cl_ord_id,
                    asked,
                    judge,
                    self._keeping.intraday_percent,
                )
            await self._keeping.follow_up(changed.booked)
            if not changed.stale:
                break
            await self._keeping.portfolios.view.ensure(placed.user_id)
        if changed.refusal is not None:
            return Decision.refused(changed.refusal)
        await self._tell(placed, [changed.told] if changed.told else [])
        said = "Changed before it left." if changed.told else "The exchange is asked to change the order."
        return Decision(said, PASSED, time.time_ns())

    @activity.defn(name="cancel")
    async def cancel(self, placed: PlacedOrder, number: int) -> Decision:
        """Take the order back, for a caller who asks its workflow as in earlier versions."""
        outcomes = await self._canceller.cancel([placed.order_id], CancelledBy("client"))
        outcome = outcomes[placed.order_id]
        if outcome.refusal is not None:
            return Decision.refused(outcome.refusal)
        return Decision(outcome.sentence, PASSED, time.time_ns())

    async def _tell(self, placed: PlacedOrder, told: Sequence[OrderUpdate]) -> None:
        await wakeups.wake(self._redis, wakeups.outbox(placed.terms.exchange))
        await order_updates.publish(self._redis, told)
