"""The steps that write the books: submit, refuse, book, and give margin back."""

import time

from redis.asyncio import Redis
from temporalio import activity

from activities.decision import PASSED, REFUSED, STALE, Booked, Decision
from config.crash_points import crash_point
from domain.margin import Block
from domain.money import rupees
from domain.orders import PlacedOrder
from storage import books, submissions, updates, wakeups
from storage.database import Database
from storage.margin_book import MarginBook


class Books:
    """PostgreSQL's side of the order; the margin view follows it."""

    def __init__(self, database: Database, redis: Redis, book: MarginBook, intraday_percent: int) -> None:
        self._database, self._redis, self._book = database, redis, book
        self._intraday_percent = intraday_percent

    @activity.defn(name="submit")
    async def submit(self, placed: PlacedOrder, block: Block) -> Decision:
        """Promise the margin and owe the order to the exchange."""
        crash_point("order_worker.before_submit")
        async with self._database.transaction() as conn:
            submission = await submissions.submit(conn, placed, block)
        if submission.refusal is not None:
            refusal = submission.refusal
            return Decision(refusal.sentence, REFUSED, time.time_ns(), refusal.code, refusal.sentence)
        if submission.stale:
            await self._book.ensure(placed.user_id)
            return Decision("The margin view was rebuilt; block again.", STALE, time.time_ns())
        crash_point("order_worker.after_submit")
        exchange = placed.terms.instrument_id.partition(":")[0]
        await wakeups.wake(self._redis, wakeups.outbox(exchange))
        await updates.publish(self._redis, submission.told)
        return Decision(f"In the outbox for {exchange}; the gateway sends it.", PASSED, time.time_ns())

    @activity.defn(name="cancel")
    async def cancel(self, placed: PlacedOrder) -> Decision:
        """Withdraw the order, or ask the exchange to cancel it; its answer comes as a report."""
        async with self._database.transaction() as conn:
            submission = await submissions.cancel(conn, placed)
        if submission.refusal is not None:
            refusal = submission.refusal
            return Decision(refusal.sentence, REFUSED, time.time_ns(), refusal.code, refusal.sentence)
        await wakeups.wake(self._redis, wakeups.outbox(placed.terms.instrument_id.partition(":")[0]))
        await updates.publish(self._redis, submission.told)
        said = "Withdrawn before it left." if submission.told else "The exchange is asked to cancel."
        return Decision(said, PASSED, time.time_ns())

    @activity.defn(name="refuse")
    async def refuse(self, placed: PlacedOrder, code: str, reason: str) -> str:
        """End the order REJECTED."""
        async with self._database.transaction() as conn:
            told = await submissions.refuse(conn, placed, code, reason)
        await updates.publish(self._redis, told)
        await wakeups.wake(self._redis, wakeups.outbox(placed.terms.instrument_id.partition(":")[0]))
        return f"Rejected: {reason}"

    @activity.defn(name="book")
    async def book(self, placed: PlacedOrder) -> Booked:
        """Book every report that is due."""
        async with self._database.transaction() as conn:
            stands = await books.book(conn, self._book, placed, self._intraday_percent)
        fills = [f"{f.last_quantity} @ {rupees(f.last_price)} ({f.exec_id})" for f in stands.fills]
        said = f"Filled {', '.join(fills)}. " if fills else ""
        why = f": {stands.reject_reason}" if stands.reject_reason else ""
        return Booked(
            f"{said}The order is {stands.status}{why}.",
            stands.status,
            stands.status.is_final,
            stands.filled_quantity,
            stands.exchange_order_id,
            stands.reject_code,
            time.time_ns(),
            fills,
        )

    @activity.defn(name="release_margin")
    async def release_margin(self, placed: PlacedOrder, block: Block) -> str:
        """Give a block back that never became a hold of the ledger."""
        freed = await self._book.release(placed.user_id, placed.order_id, block.generation)
        return f"Rs {rupees(freed)} of margin given back."
