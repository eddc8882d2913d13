"""The steps that write the books: submit, refuse, book, and give margin back."""

import time
from collections.abc import Sequence
from dataclasses import replace

from redis.asyncio import Redis
from temporalio import activity

from activities.report_waiters import ReportWaiters
from bus import order_updates, wakeups
from bus.order_updates import OrderUpdate
from config.crash_points import crash_point
from domain.exchange_terms import ExchangeTerms
from domain.margin import Block
from domain.money import rupees
from domain.orders import OrderStatus, OrderType, PlacedOrder, Validity
from domain.reports import ExecType, ExecutionReport
from storage.books import booking
from storage.books.keeping import BookKeeping
from storage.database import Connection, Database
from storage.group_commit import GroupCommit
from storage.margin.view import ReleaseStep
from storage.orders import reject, submissions
from workflow_api.results import PASSED, STALE, BookedResult, Decision, RefusedResult

LINGER_SECONDS = 0.25
"""How long the first booking waits for the exchange before it leaves the order to a signal."""


class Books:
    """PostgreSQL's side of the order; the margin view follows it."""

    def __init__(
        self, database: Database, redis: Redis, keeping: BookKeeping, lingering: ReportWaiters
    ) -> None:
        self._database, self._redis, self._lingering = database, redis, lingering
        self._keeping, self._portfolios, self._book = keeping, keeping.portfolios, keeping.portfolios.view
        self._asked_again: set[int] = set()
        """Orders that a gate has refused once, on books that have moved on since."""
        self._submitting = GroupCommit(database, self._submit_group, self._submitted)
        self._refusing = GroupCommit(database, reject.refuse, self._refused)
        self._booking = GroupCommit(database, self._book_group)

    @activity.defn(name="submit")
    async def submit(self, placed: PlacedOrder, block: Block, departure: ExchangeTerms) -> Decision:
        """Promise the margin and owe the order to the exchange."""
        crash_point("order_worker.before_submit")
        self._lingering.expect(placed.order_id)
        submission = await self._submitting.commit(submissions.SubmissionRequest(placed, block, departure))
        if submission.refusal is not None:
            # The gates judge by the books: what the client was told before he ordered has to be in them. Once
            # is enough, however they move on.
            first, version = placed.order_id not in self._asked_again, submission.version
            if first and version is not None and await self._keeping.moved_on(placed.user_id, version):
                self._asked_again.add(placed.order_id)
                await self._book.rebuild(placed.user_id)
                said = "The books have taken in what the exchange reported; block again."
                return Decision(said, STALE, time.time_ns())
            self._asked_again.discard(placed.order_id)
            return Decision.refused(submission.refusal)
        self._asked_again.discard(placed.order_id)
        if submission.stale:
            await self._book.ensure(placed.user_id)
            return Decision("The margin view was rebuilt; block again.", STALE, time.time_ns())
        if submission.spent:
            # The view was rebuilt after the order had been filled, and this run has blocked for it anew.
            await self._book.follow([ReleaseStep(placed.user_id, placed.margin_id, block.generation)])
        if placed.slice_of is not None:
            # The slices' holds are in place of the block of the whole.
            await self._book.ensure(placed.user_id)
        crash_point("order_worker.after_submit")
        when = f"in {' or '.join(departure.release_phases)}" if departure.release_phases else "now"
        said = f"In the outbox for {placed.terms.exchange}; the gateway sends it {when}."
        if self._portfolios.concern(placed):
            said += f" Its portfolio's margin grew by Rs {rupees(max(0, submission.portfolio_margin))}."
        return Decision(said, PASSED, time.time_ns())

    @activity.defn(name="refuse")
    async def refuse(self, placed: PlacedOrder, code: str, reason: str) -> RefusedResult:
        """End the order REJECTED, unless an earlier run of the gates has let it pass."""
        answer = await self._refusing.commit(reject.RefusedOrder(placed, code, reason))
        if answer.stands:
            # A gate may close between two runs of the task: what the first has blocked is nobody's now.
            for block in await self._book.blocks(placed.user_id, [placed.margin_id]):
                await self._book.follow([ReleaseStep(placed.user_id, placed.margin_id, block.generation)])
        if not answer.stands:
            return RefusedResult("The order was submitted before; it goes on.", stands=False)
        rejected = answer.status is OrderStatus.REJECTED
        said = f"Rejected: {reason}" if rejected else f"The order was {answer.status} before it left."
        return RefusedResult(said, stands=True, status=answer.status)

    @activity.defn(name="book")
    async def book(self, placed: PlacedOrder) -> BookedResult:
        """Book every report that is due."""
        stands = await self._book_due(placed)
        return _told(stands, stands.fills, stands.corrections)

    @activity.defn(name="book_first_reports")
    async def book_first_reports(self, placed: PlacedOrder) -> BookedResult:
        """Wait a moment for the exchange's first words and book them: most orders need no signal.

        An order that cannot rest is waited for until it is final.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        at_once = placed.terms.order_type is OrderType.MARKET or placed.terms.validity is Validity.IOC
        fills: list[ExecutionReport] = []
        corrections: list[ExecutionReport] = []
        with self._lingering.listening(placed.order_id) as hint:
            while True:
                heard = await hint.wait(deadline - time.monotonic())
                stands = await self._book_due(placed)
                fills += stands.fills
                corrections += stands.corrections
                answered = stands.status is not OrderStatus.PENDING_OPEN and not at_once
                if (stands.status.is_final or answered or not heard) and not hint.pending:
                    return _told(stands, fills, corrections)

    @activity.defn(name="release_margin")
    async def release_margin(self, placed: PlacedOrder, block: Block) -> str:
        """Give a block back that never became a hold of the ledger."""
        step = ReleaseStep(placed.user_id, placed.margin_id, block.generation)
        (freed,) = await self._book.follow([step])
        return f"Rs {rupees(freed)} of margin given back."

    async def _submitted(
        self, answers: Sequence[tuple[submissions.SubmissionRequest, submissions.Submission]]
    ) -> None:
        told = [update for _, answer in answers for update in (answer.told, *answer.told_beside)]
        await self._owed([asked.placed for asked, _ in answers], told)

    async def _refused(self, answers: Sequence[tuple[reject.RefusedOrder, reject.RefusalAnswer]]) -> None:
        # A refused order lets the user's next one pass the gate.
        await self._owed([refused.placed for refused, _ in answers], [answer.told for _, answer in answers])

    async def _owed(self, orders: Sequence[PlacedOrder], told: Sequence[OrderUpdate | None]) -> None:
        """The gateway may have something to send; the clients are told."""
        await wakeups.wake(self._redis, *(wakeups.outbox(placed.terms.exchange) for placed in orders))
        await order_updates.publish(self._redis, [update for update in told if update is not None])

    async def _book_due(self, placed: PlacedOrder) -> booking.BookedOrder:
        booked = await self._booking.commit(placed)
        await self._keeping.follow_up(booked)
        return booked.standings[placed.order_id]

    async def _submit_group(
        self, conn: Connection, asked: Sequence[submissions.SubmissionRequest]
    ) -> list[submissions.Submission]:
        return await submissions.submit(conn, self._portfolios, asked)

    async def _book_group(
        self, conn: Connection, orders: Sequence[PlacedOrder]
    ) -> list[booking.BookingResult]:
        booked = await booking.book(conn, self._portfolios, orders, self._keeping.intraday_percent)
        # The alerts are the whole group's: the first tells them.
        rest = replace(booked, alerts=[])
        return [booked, *(rest for _ in orders[1:])]


def _told(
    stands: booking.BookedOrder, booked: list[ExecutionReport], corrections: list[ExecutionReport]
) -> BookedResult:
    fills = [f"{fill.last_quantity} @ {rupees(fill.last_price)} ({fill.exec_id})" for fill in booked]
    said = f"Filled {', '.join(fills)}. " if fills else ""
    said += "".join(_corrected(report) for report in corrections)
    why = f": {stands.reject_reason.removesuffix('.')}" if stands.reject_reason else ""
    return BookedResult(
        f"{said}The order is {stands.status}{why}.",
        stands.status,
        stands.status.is_final,
        stands.filled_quantity,
        stands.exchange_order_id,
        stands.reject_code,
        time.time_ns(),
        fills,
    )


def _corrected(report: ExecutionReport) -> str:
    if report.exec_type is ExecType.TRADE_CANCEL:
        return f"The exchange took trade {report.reference_exec_id} back. "
    now = f"{report.last_quantity} @ {rupees(report.last_price)} ({report.exec_id})"
    return f"The exchange corrected trade {report.reference_exec_id} to {now}. "
