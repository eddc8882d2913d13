"""OrderWorkflow on a real Temporal server, with the real steps over real books, in both runners."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkflowRunner

from activities.books import Books
from domain.changes import Change
from domain.exchange_terms import ExchangeTerms
from domain.margin import Block, position_key
from domain.orders import OrderStatus, OrderType, PlacedOrder, Product, Side
from domain.reports import ExecType, ExecutionReport
from storage.orders.cancellations import Cancellation, CancelledBy
from storage.orders.canceller import OrderCanceller
from tests.support.builders import a_report, some_trades
from tests.support.eventually import eventually
from tests.support.stories import CASH, Stories
from workflow_api import contracts
from workflow_api import stories as stories_begun
from workflow_api.results import PASSED, REFUSED, Decision
from workflows.orders import OrderWorkflow

Handle = WorkflowHandle[OrderWorkflow, str]
WORTH = 10 * 2450_00


async def ended(handle: Handle) -> str:
    return await asyncio.wait_for(handle.result(), 60)


async def submitted(stories: Stories, placed: PlacedOrder) -> bool:
    return bool(await stories.rows("SELECT 1 FROM exchange_outbox WHERE order_id = %s", placed.order_id))


async def under_way(stories: Stories, user_id: int, **changes: Any) -> tuple[PlacedOrder, Handle]:
    """An order that stands in the exchange's book."""
    placed = await stories.place(user_id, **changes)
    handle = await stories.start(placed)
    assert await eventually(lambda: submitted(stories, placed))
    await stories.send(placed)
    await stories.tell([a_report(placed.order_id)])
    return placed, handle


async def attribute(handle: Handle, key: Any) -> Any:
    return (await handle.describe()).typed_search_attributes.get(key)


async def markers(handle: Handle, step: str) -> int:
    """How many local activities of this name the history records."""
    events = [event async for event in handle.fetch_history_events()]
    recorded = [
        event.marker_recorded_event_attributes
        for event in events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    ]
    return sum(f'"{step}"'.encode() in marker.details["data"].payloads[0].data for marker in recorded)


REFUSALS: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "nobody lists it": ({"instrument_id": "XT:NOSUCH"}, CASH, "INSTRUMENT_UNKNOWN"),
    "it is only quoted": ({"instrument_id": "XT:QUOTED"}, CASH, "INSTRUMENT_NOT_TRADABLE"),
    "the price is off the tick": ({"price": 2450_01}, CASH, "PRICE_NOT_TICK_MULTIPLE"),
    "the market is halted": ({"instrument_id": "XT:HALTED"}, CASH, "MARKET_CLOSED"),
    "the phase is not told": ({"instrument_id": "XT:UNTOLD"}, CASH, "MARKET_PHASE_UNKNOWN"),
    "there is no account": ({}, None, "ACCOUNT_UNKNOWN"),
    "it is too dear": ({}, WORTH - 1, "MARGIN_INSUFFICIENT"),
    "the shares are not held": ({"side": Side.SELL}, CASH, "HOLDINGS_INSUFFICIENT"),
}


@pytest.mark.parametrize(("changes", "cash", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refused_order_ends_rejected_with_its_reason_and_blocks_nothing(
    stories: Stories, runner: WorkflowRunner, changes: dict[str, Any], cash: int | None, code: str
) -> None:
    user_id = await stories.client(cash)
    async with stories.worker(runner):
        placed = await stories.place(user_id, **changes)
        handle = await stories.start(placed)
        said = await ended(handle)
    order = await stories.order(placed)
    assert (order["status"], order["reject_code"]) == ("REJECTED", code)
    assert said == f"Rejected: {order['reject_reason']}"
    assert await attribute(handle, contracts.REJECT_CODE) == code
    assert await attribute(handle, contracts.ORDER_STATUS) == "REJECTED"
    if cash is not None:
        assert await stories.blocked(user_id) == (0, 0)
    assert not await submitted(stories, placed)
    (intake,) = await stories.rows("SELECT * FROM order_intake WHERE order_id = %s", placed.order_id)
    assert intake["gate_passed_at_ns"] is not None, "the user's later orders wait for ever"


async def test_an_order_is_filled_in_parts_and_booked_to_the_paisa(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        assert await eventually(lambda: stories.blocked(user_id)) == (WORTH, WORTH)
        first, last = some_trades(placed.order_id, [(4, 2450_00), (6, 2449_00)])
        await stories.tell([first])
        await stories.tell([last])
        said = await ended(handle)
    assert said.endswith("The order is EXECUTED.")
    paid = 4 * 2450_00 + 6 * 2449_00
    ledger = await stories.ledger(user_id)
    assert (ledger["used_margin"], ledger["blocked_margin"]) == (paid, 0)
    assert ledger["available_cash"] == CASH - paid
    assert await attribute(handle, contracts.ORDER_STATUS) == "EXECUTED"
    assert await attribute(handle, contracts.EXCHANGE_ORDER_ID) == f"X{placed.order_id}"


async def test_reports_in_bursts_and_repeated_are_booked_once_each(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """The journal keeps the exchange's order; signals may come early, late, too often, for nothing."""
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        trades = some_trades(placed.order_id, [(1, 2450_00)] * 10)
        await stories.tell(trades[:3], signals=5)
        await stories.tell([trades[0], *trades[:5], trades[1]], signals=5)
        await asyncio.gather(*(stories.signal(placed.order_id, "nothing new") for _ in range(20)))
        await stories.tell([*trades, *trades])
        await ended(handle)
    booked = await stories.rows("SELECT exec_id FROM trades WHERE order_id = %s", placed.order_id)
    assert sorted(row["exec_id"] for row in booked) == sorted(trade.exec_id for trade in trades)
    order = await stories.order(placed)
    assert (order["status"], order["filled_quantity"], order["filled_value"]) == ("EXECUTED", 10, WORTH)
    assert (await stories.ledger(user_id))["used_margin"] == WORTH


async def test_an_order_that_expires_half_filled_gives_the_other_half_back(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        (trade,) = some_trades(placed.order_id, [(4, 2450_00)])
        over = replace(trade, exec_id=f"{placed.order_id}/end", exec_type=ExecType.EXPIRED, last_quantity=0)
        await stories.tell([trade, replace(over, leaves_quantity=0)])
        assert (await ended(handle)).endswith(
            "The order is EXPIRED: The market closed before the order was filled."
        )
    assert await stories.blocked(user_id) == (0, 0)
    assert (await stories.ledger(user_id))["used_margin"] == 4 * 2450_00


class RebuiltBetween(Books):
    """The margin view is rebuilt after the block and before the first submit, as after a loss of Redis."""

    rebuilt = 0

    @activity.defn(name="submit")
    async def submit(self, placed: PlacedOrder, block: Block, departure: ExchangeTerms) -> Decision:
        if not self.rebuilt:
            self.rebuilt += 1
            await self._book.rebuild(placed.user_id)
        return await super().submit(placed, block, departure)


async def test_a_margin_view_that_went_stale_is_asked_again_and_blocks_once(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner, RebuiltBetween) as books:
        _, handle = await under_way(stories, user_id)
        assert isinstance(books, RebuiltBetween)
        assert books.rebuilt == 1
        # The history has the steps of a workflow task once that task is completed.
        assert await eventually(lambda: markers(handle, "block_margin")) == 2
        assert await stories.blocked(user_id) == (WORTH, WORTH)
        await handle.terminate()


class ReleaseFails(Books):
    """Giving margin back fails twice, as when Redis is away."""

    attempts = 0

    @activity.defn(name="release_margin")
    async def release_margin(self, placed: PlacedOrder, block: Block) -> str:
        self.attempts += 1
        if self.attempts <= 2:
            raise ConnectionError("Redis is away")
        return await super().release_margin(placed, block)


async def test_margin_of_a_refused_order_is_given_back_however_often_that_fails(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """The ledger has less than the view thinks, so it refuses what was blocked."""
    user_id = await stories.client()
    await stories.book.ensure(user_id)
    async with stories.database.transaction() as conn:
        await conn.execute("UPDATE margin_ledger SET cash = 5 WHERE user_id = %s", (user_id,))
    async with stories.worker(runner, ReleaseFails) as books:
        placed = await stories.place(user_id)
        handle = await stories.start(placed)
        await ended(handle)
        assert isinstance(books, ReleaseFails)
        assert books.attempts == 3
    assert (await stories.order(placed))["reject_code"] == "MARGIN_INSUFFICIENT"
    assert await stories.blocked(user_id) == (0, 0)


async def test_what_an_earlier_run_blocked_is_given_back_when_a_gate_has_closed_since(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """A worker dies between block and submit; when another runs the task, the instrument is halted."""
    user_id = await stories.client()
    placed = await stories.place(user_id, instrument_id="XT:HALTED")
    terms = placed.terms
    position = position_key(terms.instrument_id, terms.product)
    await stories.book.block(user_id, placed.order_id, terms.side, position, False, terms.quantity, 2450_00)
    assert await stories.blocked(user_id) == (WORTH, 0)
    async with stories.worker(runner):
        await ended(await stories.start(placed))
    assert (await stories.order(placed))["status"] == "REJECTED"
    assert await stories.blocked(user_id) == (0, 0)


class SubmitWaits(Books):
    """Submitting takes as long as the test wants."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.asked, self.may_go = asyncio.Event(), asyncio.Event()

    @activity.defn(name="submit")
    async def submit(self, placed: PlacedOrder, block: Block, departure: ExchangeTerms) -> Decision:
        self.asked.set()
        await self.may_go.wait()
        return await super().submit(placed, block, departure)


async def test_an_order_that_is_cancelled_before_it_was_handed_on_ends_there_and_then(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """The running story finds it ended and gives back what it had blocked."""
    user_id = await stories.client()
    async with stories.worker(runner, SubmitWaits) as books:
        assert isinstance(books, SubmitWaits)
        placed = await stories.place(user_id)
        handle = await stories.start(placed)
        await asyncio.wait_for(books.asked.wait(), 10)
        assert (await taken_back(stories, placed)).status is OrderStatus.CANCELLED
        assert (await stories.order(placed))["status"] == "CANCELLED"
        books.may_go.set()
        assert (await ended(handle)).endswith("The order is CANCELLED.")
    assert await attribute(handle, contracts.ORDER_STATUS) == "CANCELLED"
    assert not await submitted(stories, placed)
    assert await stories.blocked(user_id) == (0, 0)


async def test_a_refusal_after_a_cancel_leaves_the_order_cancelled(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    placed = await stories.place(user_id, instrument_id="XT:HALTED")
    await taken_back(stories, placed)
    async with stories.worker(runner):
        handle = await stories.start(placed)
        assert await ended(handle) == "The order was CANCELLED before it left."
    order = await stories.order(placed)
    assert (order["status"], order["reject_code"]) == ("CANCELLED", None)
    assert await attribute(handle, contracts.ORDER_STATUS) == "CANCELLED"


async def test_a_story_that_begins_again_goes_on_where_the_lost_one_was(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """Half filled, and the rest comes while no story runs; the gates are not asked again."""
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        trades = some_trades(placed.order_id, [(3, 2450_00), (7, 2448_00)])
        await stories.tell(trades[:1])
        assert await eventually(lambda: fills(stories, placed, 1))
        await handle.terminate("its memory is lost")
        await stories.tell(trades[1:], signals=0)
        again = await stories.begin_again(placed)
        assert (await ended(again)).endswith("The order is EXECUTED.")
        assert await markers(again, "validate") == await markers(again, "submit") == 0
    assert await stories.blocked(user_id) == (0, 0)
    assert (await stories.ledger(user_id))["used_margin"] == 3 * 2450_00 + 7 * 2448_00


async def test_a_story_lost_before_its_order_was_submitted_begins_from_the_gates(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """What it had blocked in the view is the same block."""
    user_id = await stories.client()
    async with stories.worker(runner, SubmitWaits) as books:
        assert isinstance(books, SubmitWaits)
        placed = await stories.place(user_id)
        lost = await stories.start(placed)
        await asyncio.wait_for(books.asked.wait(), 10)
        await lost.terminate("its memory is lost")
        again = await stories.begin_again(placed)
        books.may_go.set()
        assert await eventually(lambda: submitted(stories, placed))
        assert await eventually(lambda: stories.blocked(user_id)) == (WORTH, WORTH)
        await taken_back(stories, placed)
        await stories.signal(placed.order_id, "withdrawn")
        assert (await ended(again)).endswith("The order is CANCELLED.")
    assert await stories.blocked(user_id) == (0, 0)


async def test_a_change_asked_of_a_story_that_began_again_is_no_repeat_of_an_earlier_one(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        assert (await changed(handle, Change(quantity=8), 1)).decision == PASSED
        await stories.tell([replaced(placed, 1, 8)])

        async def settled() -> bool:
            return await stories.blocked(user_id) == (8 * 2450_00, 8 * 2450_00)

        assert await eventually(settled)
        await handle.terminate("its memory is lost")
        again = await stories.begin_again(placed)
        assert (await changed(again, Change(quantity=6), 2)).decision == PASSED
        repeated = await changed(again, Change(quantity=6), 2)
        assert repeated.decision == PASSED, "a step that runs twice finds what it did"
        owed = await stories.rows(
            "SELECT cl_ord_id FROM exchange_outbox WHERE order_id = %s AND kind = 'REPLACE' ORDER BY seq",
            placed.order_id,
        )
        assert [row["cl_ord_id"] for row in owed] == [f"{placed.order_id}-1", f"{placed.order_id}-2"]
        await again.terminate()


async def test_a_change_that_was_put_right_before_the_order_left_is_found_again_by_its_key(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed = await stories.place(user_id)
        handle = await stories.start(placed)
        assert await eventually(lambda: submitted(stories, placed))
        first = await changed(handle, Change(quantity=8), 1)
        again = await changed(handle, Change(quantity=8), 1)
        assert first.decision == again.decision == PASSED
        other = await changed(handle, Change(quantity=8), 2)
        assert other.reject_code == "NOTHING_TO_CHANGE"
        assert (await stories.order(placed))["changes"] == 1
        await handle.terminate()


async def changed(handle: Handle, change: Change, number: int) -> Decision:
    """Ask for a change under a number of the database's."""
    asked: Decision = await handle.execute_update(
        contracts.CHANGE, args=[change, number], result_type=Decision
    )
    return asked


def replaced(placed: PlacedOrder, number: int, quantity: int) -> ExecutionReport:
    report = a_report(placed.order_id, exec_type=ExecType.REPLACED, quantity=quantity)
    return replace(
        report,
        exec_id=f"{placed.order_id}/replaced",
        price=placed.terms.price,
        cl_ord_id=f"{placed.order_id}-{number}",
        orig_cl_ord_id=str(placed.order_id),
        leaves_quantity=quantity,
    )


async def test_a_story_with_nothing_left_to_do_is_not_begun_again(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        await stories.started(placed)
        assert not await stories_begun.start(stories.temporal, placed, again=True), "one runs already"
        await stories.tell(some_trades(placed.order_id, [(10, 2450_00)]))
        await ended(handle)
        assert not await stories_begun.restart(stories.temporal, stories.database, placed.order_id)


async def taken_back(stories: Stories, placed: PlacedOrder) -> Cancellation:
    canceller = OrderCanceller(stories.database, stories.redis)
    return (await canceller.cancel([placed.order_id], CancelledBy("client")))[placed.order_id]


async def test_a_cancel_asked_of_the_story_waits_until_the_order_is_handed_on(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner, SubmitWaits) as books:
        assert isinstance(books, SubmitWaits)
        placed = await stories.place(user_id)
        handle = await stories.start(placed)
        await asyncio.wait_for(books.asked.wait(), 10)
        asking = asyncio.create_task(handle.execute_update(contracts.CANCEL, result_type=Decision))
        books.may_go.set()
        answer = await asyncio.wait_for(asking, 10)
        assert (answer.decision, answer.sentence) == (PASSED, "Withdrawn before it left.")
        assert (await ended(handle)).endswith("The order is CANCELLED.")
    assert (await stories.order(placed))["status"] == "CANCELLED"
    assert await stories.blocked(user_id) == (0, 0)


async def test_a_cancel_is_asked_of_the_exchange_once_and_a_fill_may_still_win(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        asked = await handle.execute_update(contracts.CANCEL, result_type=Decision)
        again = await handle.execute_update(contracts.CANCEL, result_type=Decision)
        assert asked.decision == PASSED
        assert (again.decision, again.reject_code) == (REFUSED, "CANCEL_ALREADY_PENDING")
        await stories.tell(some_trades(placed.order_id, [(10, 2450_00)]))
        assert (await ended(handle)).endswith("The order is EXECUTED.")
        owed = await stories.rows(
            "SELECT kind FROM exchange_outbox WHERE order_id = %s ORDER BY seq", placed.order_id
        )
        assert [row["kind"] for row in owed] == ["NEW", "CANCEL"]


async def test_a_cancel_of_a_finished_order_is_refused_and_asks_nobody(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        await stories.tell(some_trades(placed.order_id, [(10, 2450_00)]))
        await ended(handle)
        with pytest.raises(RPCError) as refused:
            await handle.execute_update(contracts.CANCEL, result_type=Decision)
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    owed = await stories.rows("SELECT kind FROM exchange_outbox WHERE order_id = %s", placed.order_id)
    assert [row["kind"] for row in owed] == ["NEW"]


async def test_another_worker_goes_on_where_one_stopped(stories: Stories, runner: WorkflowRunner) -> None:
    """Reports that come while nobody works are booked by the next."""
    user_id = await stories.client()
    async with stories.worker(runner):
        placed, handle = await under_way(stories, user_id)
        trades = some_trades(placed.order_id, [(3, 2450_00), (7, 2448_00)])
        await stories.tell(trades[:1])
        assert await eventually(lambda: fills(stories, placed, 1))
    await stories.tell(trades[1:])
    async with stories.worker(runner):
        assert (await ended(handle)).endswith("The order is EXECUTED.")
    assert await fills(stories, placed, 2)
    assert (await stories.ledger(user_id))["used_margin"] == 3 * 2450_00 + 7 * 2448_00
    assert await markers(handle, "validate") == 1


async def fills(stories: Stories, placed: PlacedOrder, number: int) -> bool:
    return len(await stories.rows("SELECT 1 FROM trades WHERE order_id = %s", placed.order_id)) == number


async def test_an_intraday_market_order_blocks_its_share_at_the_protected_price(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()
    async with stories.worker(runner):
        terms = {"order_type": OrderType.MARKET, "price": None, "product": Product.MIS}
        placed, handle = await under_way(stories, user_id, **terms)
        protected = 10 * 2462_20 * 20 // 100
        assert await stories.blocked(user_id) == (protected, protected)
        await stories.tell(some_trades(placed.order_id, [(10, 2450_00)]))
        await ended(handle)
    ledger = await stories.ledger(user_id)
    assert (ledger["used_margin"], ledger["blocked_margin"]) == (WORTH * 20 // 100, 0)


async def test_a_submit_that_runs_again_after_a_rebuild_blocks_nothing_for_an_order_that_was_filled(
    stories: Stories, runner: WorkflowRunner
) -> None:
    user_id = await stories.client()

    class FilledBeforeItRanAgain(Books):
        again: Block | None = None
        """What the block step answers when the workflow task runs again from its beginning."""

        @activity.defn(name="submit")
        async def submit(self, placed: PlacedOrder, block: Block, departure: ExchangeTerms) -> Decision:
            if self.again is not None:
                return await super().submit(placed, self.again, departure)
            await super().submit(placed, block, departure)
            await stories.send(placed)
            trades = some_trades(placed.order_id, [(10, 2450_00)])
            await stories.tell([a_report(placed.order_id), *trades], signals=0)
            await self.book(placed)
            await self._book.rebuild(user_id)
            position = position_key(placed.terms.instrument_id, placed.terms.product)
            self.again = await self._book.block(
                user_id, placed.order_id, placed.terms.side, position, False, 10, 2450_00
            )
            raise ConnectionError("the step's answer is lost, so it runs again")

    async with stories.worker(runner, FilledBeforeItRanAgain):
        placed = await stories.place(user_id)
        handle = await stories.start(placed)
        assert (await ended(handle)).endswith("The order is EXECUTED.")
    assert await stories.blocked(user_id) == (0, 0)
    assert (await stories.ledger(user_id))["used_margin"] == WORTH


async def test_a_refusal_of_an_order_that_was_submitted_before_does_not_stand(
    stories: Stories, runner: WorkflowRunner
) -> None:
    """The gates run again with the task, and may see another market: the order is the exchange's by then."""
    user_id = await stories.client()
    async with stories.worker(runner) as books:
        placed, handle = await under_way(stories, user_id)
        refused = await books.refuse(placed, "MARKET_CLOSED", "The market has closed meanwhile.")
        assert not refused.stands
        assert (await stories.order(placed))["status"] == "OPEN"
        await stories.tell(some_trades(placed.order_id, [(10, 2450_00)]))
        assert (await ended(handle)).endswith("The order is EXECUTED.")
