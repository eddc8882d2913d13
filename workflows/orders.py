"""The order's story: validate, block margin, submit, then book what the exchange reports until it is final.

Everything up to the outbox may run twice without harm; the books are keyed by the order and the ExecID. A
refusal is an outcome, not a failure; a bug stalls the workflow visibly instead of failing the order.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.books import Books
    from activities.changes import Changes
    from activities.gates import Gates
    from domain.changes import Change
    from domain.exchange_terms import Admission
    from domain.margin import Block
    from domain.orders import OrderStatus, PlacedOrder
    from domain.rejects import RejectCode
    from workflow_api import contracts
    from workflow_api.results import REFUSED, STALE, BookedResult, Decision, RefusedResult

# No attempt limit: what fails is tried again until an engineer has mended it; nothing is lost meanwhile.
_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_interval=timedelta(seconds=5))
Answer = TypeVar("Answer")
Step = Callable[..., Awaitable[Answer]]


@workflow.defn(name=contracts.ORDER_WORKFLOW)
class OrderWorkflow:
    """Workflow id `order-<order_id>`."""

    @workflow.init
    def __init__(self, placed: PlacedOrder) -> None:
        self._placed = placed
        self._submitted = False
        self._finished = False
        self._reports_due = False
        self._requests = 0
        """Numbers requests that bring no number, as those of earlier versions."""

    @workflow.run
    async def run(self, placed: PlacedOrder) -> str:
        """The outcome in one sentence."""
        outcome = await self._story(placed)
        self._finished = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    async def _story(self, placed: PlacedOrder) -> str:
        if placed.past_gates:
            return await self._go_on(placed)
        verdict = await self._local(Gates.validate, "Check the gates", placed)
        entered = verdict.entry
        if entered is not None:
            verdict = await self._submit(placed, entered)
        if verdict.decision == REFUSED:
            refused = await self._refuse(placed, verdict)
            # An earlier run of this very task may have submitted the order: then it goes on.
            if refused.stands:
                return refused.sentence
        self._submitted = True
        booked = await self._follow(placed, armed=entered is not None and bool(entered.release_phases))
        return self._end(booked)

    async def _go_on(self, placed: PlacedOrder) -> str:
        """An earlier story, lost since, has passed the gates: what was reported meanwhile is due."""
        self._submitted = self._reports_due = True
        return self._end(await self._follow(placed, armed=True))

    def _end(self, booked: BookedResult) -> str:
        self._tell(booked.status, booked.reject_code, booked.exchange_order_id)
        return booked.sentence

    @workflow.update(name=contracts.CANCEL)
    async def cancel(self) -> Decision:
        """Take the order back, as earlier versions asked it of the story; cancels need no story since."""
        number = await self._next_request()
        asked = await self._local(Changes.cancel, "Cancel for the client", self._placed, number)
        # A withdrawn order is final without a report of the exchange.
        self._reports_due = True
        return asked

    @workflow.update(name=contracts.CHANGE)
    async def change(self, asked: Change, number: int | None = None) -> Decision:
        """Ask for a change; until the exchange has answered, the order stands as it is.

        Its number comes from the database, for a story that begins again knows none. Earlier versions gave it
        here.
        """
        own = await self._next_request()
        keyed = own if number is None else number
        return await self._local(Changes.change, "Change for the client", self._placed, keyed, asked)

    @cancel.validator
    def _may_cancel(self) -> None:
        self._must_be_open()

    @change.validator
    def _may_change(self, asked: Change, number: int | None = None) -> None:
        self._must_be_open()

    def _must_be_open(self) -> None:
        if self._finished:
            raise ApplicationError("the order is finished", type=RejectCode.ORDER_ALREADY_FINAL)

    async def _next_request(self) -> int:
        await workflow.wait_condition(lambda: self._submitted or self._finished)
        self._requests += 1
        return self._requests

    @workflow.signal(name=contracts.EXCHANGE_REPORTS)
    def exchange_reports(self, _sentences: list[str]) -> None:
        """The reports themselves are in the inbox; the sentences are for whoever reads the history."""
        self._reports_due = True

    async def _submit(self, placed: PlacedOrder, entered: Admission) -> Decision:
        while True:
            blocked = await self._local(Gates.block_margin, "Block margin", placed, entered)
            if blocked.block is None or blocked.departure is None:
                return blocked
            handed = (placed, blocked.block, blocked.departure)
            submitted = await self._local(Books.submit, "Hand to the exchange gateway", *handed)
            if submitted.decision == STALE:
                continue
            if submitted.decision == REFUSED:
                await self._release(placed, blocked.block)
            return submitted

    async def _follow(self, placed: PlacedOrder, *, armed: bool) -> BookedResult:
        if not armed:
            first = await self._local(Books.book_first_reports, "Book the exchange's first reports", placed)
            if first.final and not self._reports_due:
                return first
        while True:
            await workflow.wait_condition(lambda: self._reports_due)
            self._reports_due = False
            booked = await self._local(Books.book, "Book what the exchange reported", placed)
            if booked.final and not self._reports_due:
                return booked

    async def _refuse(self, placed: PlacedOrder, verdict: Decision) -> RefusedResult:
        code, reason = str(verdict.reject_code), str(verdict.reject_reason)
        refused = await self._local(Books.refuse, f"Refuse: {code}", placed, code, reason)
        if refused.stands:
            rejected = refused.status == OrderStatus.REJECTED
            self._tell(refused.status, code if rejected else None, None)
        return refused

    async def _release(self, placed: PlacedOrder, block: Block) -> None:
        """The compensation: a regular activity, tried until it succeeds."""
        await workflow.execute_activity_method(
            Books.release_margin,
            args=[placed, block],
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary="Give the blocked margin back",
        )

    def _tell(self, status: str, reject_code: str | None, exchange_order_id: str | None) -> None:
        changes: list[Any] = [contracts.ORDER_STATUS.value_set(status)]
        if reject_code:
            changes.append(contracts.REJECT_CODE.value_set(reject_code))
        if exchange_order_id:
            changes.append(contracts.EXCHANGE_ORDER_ID.value_set(exchange_order_id))
        workflow.upsert_search_attributes(changes)

    async def _local(self, step: Step[Answer], summary: str, *arguments: Any) -> Answer:
        answer: Answer = await workflow.execute_local_activity_method(
            step,
            args=arguments,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary=summary,
        )
        return answer
