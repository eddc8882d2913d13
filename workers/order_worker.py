"""The order worker's process: pulls the intake, starts workflows, runs their steps, tells them of reports.

It pulls, so Temporal is never flooded: at most `orders_in_progress_max` of its orders are before the exchange
gate at once, the rest wait in the intake. Workflows start eagerly, in this very process. Any worker may die:
its claims are leases, its workflows go on in another.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
import uvloop
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.books import Books
from activities.changes import Changes
from activities.gates import Gates
from activities.report_waiters import ReportWaiters
from activities.tracing import StepTracing
from bus import wakeups
from bus.background import end
from bus.health import reporting
from bus.last_prices import LastPrices
from bus.redis_client import open_redis
from config.settings import Settings, settings
from domain.orders import PlacedOrder
from domain.report_text import report_sentence
from exchange.files import span_directory
from exchange.files.span_directory import SpanFiles
from pretrade.checks import PreTradeChecks
from pretrade.day_rules import DayRules
from storage.books.keeping import BookKeeping
from storage.cached_view import following
from storage.database import Database, open_database
from storage.journals import order_queue, placed_orders
from storage.journals.inbox_rows import report_of
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView
from storage.market.instruments import load_instruments
from storage.market.phases import MarketPhases
from telemetry import stages
from telemetry.process import telemetry
from telemetry.spans import past_span
from workers.series_roll import end_at_next_roll
from workflow_api import contracts, stories
from workflow_api.connection import connect
from workflows.late_reports import LateReportsWorkflow
from workflows.orders import OrderWorkflow

POLL_SECONDS = 0.5
STICKY_SECONDS = 2
"""How long a workflow's next task waits for the process that has it in memory, when that one has died."""
log = structlog.get_logger()


def main() -> None:
    """Run until SIGTERM or SIGINT; steps under way are finished first."""
    ours = settings().require("postgres_url", "redis_url", "temporal_address")
    end_at_next_roll()
    with telemetry(ours, ours.worker_id):
        uvloop.run(_run(ours))


async def _run(ours: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    client = await connect(ours, ours.worker_id)
    async with (
        open_database(ours.postgres_dsn, size=16, application=ours.worker_id) as database,
        open_redis(ours.redis_dsn) as redis,
        wakeups.listening(redis, wakeups.MARKET_STATUS, wakeups.PRICE_BANDS) as announced,
    ):
        phases, lingering = MarketPhases(database), ReportWaiters()
        percent, instruments = ours.intraday_margin_percent, await load_instruments(database)
        spans = SpanFiles(ours.risk_files, ours.exchanges)
        portfolios = DerivativeMargins(MarginView(redis, database), instruments, spans)
        keeping = BookKeeping(database, redis, portfolios, percent)
        day = DayRules(instruments.values())
        judge = PreTradeChecks(instruments, day, phases, LastPrices(redis), percent)
        gates = Gates(judge, keeping)
        books = Books(database, redis, keeping, lingering)
        changes = Changes(database, redis, judge, keeping)
        pullers = _Pullers(client, database, lingering, ours)
        async with (
            following(phases, announced),
            span_directory.following(spans),
            _worker(client, ours, gates, books, changes),
            wakeups.listening(redis, wakeups.INTAKE) as intake,
            wakeups.listening(redis, wakeups.inbox(ours.worker_id)) as inbox,
            wakeups.listening(redis, wakeups.WITHDRAWN) as withdrawn,
            reporting(redis, ours.worker_id),
        ):
            tasks = [
                asyncio.create_task(_for_ever(pullers.start_orders, intake), name="intake"),
                asyncio.create_task(_for_ever(pullers.tell_reports, inbox), name="inbox"),
                asyncio.create_task(_for_ever(pullers.tell_withdrawals, withdrawn), name="withdrawn"),
            ]
            await stopped.wait()
            await end(*tasks)


def _worker(client: Client, ours: Settings, gates: Gates, books: Books, changes: Changes) -> Worker:
    # An order holds a slot from its start until its first reports are booked; pollers hold slots too.
    slots = 2 * ours.orders_in_progress_max + 10
    return Worker(
        client,
        task_queue=contracts.ORDER_QUEUE,
        workflows=[OrderWorkflow, LateReportsWorkflow],
        activities=[
            gates.validate,
            gates.block_margin,
            books.submit,
            changes.change,
            changes.cancel,
            books.refuse,
            books.book_first_reports,
            books.book,
            books.release_margin,
        ],
        interceptors=[StepTracing()],
        # The story uses no clock, no I/O and no randomness; the sandbox would cost a third of the CPU.
        workflow_runner=UnsandboxedWorkflowRunner(),
        # Stories are pure Python: more threads would only pass the interpreter's lock around.
        workflow_task_executor=ThreadPoolExecutor(1),
        max_concurrent_workflow_tasks=slots,
        max_concurrent_local_activities=slots,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
    )


class _Pullers:
    """Each pull returns whether there may be more at once."""

    def __init__(self, client: Client, database: Database, lingering: ReportWaiters, ours: Settings) -> None:
        self._client, self._database, self._lingering, self._ours = client, database, lingering, ours
        self._starting: set[asyncio.Task[None]] = set()

    async def start_orders(self) -> bool:
        most = self._ours.orders_in_progress_max
        owner = self._ours.worker_id
        claimed = await order_queue.claim_orders(self._database, owner, most, time.time_ns())
        if claimed:
            # The next claim need not wait until these have started.
            starting = asyncio.create_task(self._start_all(claimed), name="start")
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)
        return bool(claimed)

    async def _start_all(self, claimed: list[PlacedOrder]) -> None:
        """What does not start here is claimed again when its lease is over."""
        started = await asyncio.gather(*(self._start(placed) for placed in claimed), return_exceptions=True)
        ids = [p.order_id for p, fault in zip(claimed, started, strict=True) if fault is None]
        for fault in started:
            if fault is not None:
                log.error("order_not_started", error=str(fault))
        await order_queue.mark_started(self._database, ids, time.time_ns())

    async def _start(self, placed: PlacedOrder) -> None:
        stages.record("start", time.time_ns() - placed.accepted_at_ns)
        past_span("order.start", placed.traceparent, placed.accepted_at_ns, order_id=str(placed.order_id))
        await stories.start(self._client, placed, eager=True)

    async def tell_reports(self) -> bool:
        due = await order_queue.reports_due(self._database, self._ours.worker_id, time.time_ns())
        signals = [
            self._tell(order_id, [report_sentence(report_of(row["report"])) for row in rows])
            for order_id, rows in due.items()
            if not self._lingering.tell(order_id)
        ]
        await asyncio.gather(*signals)
        return bool(due)

    async def tell_withdrawals(self) -> bool:
        due = await order_queue.withdrawals_due(self._database, time.time_ns())
        await asyncio.gather(*(self._tell(order_id, [sentence]) for order_id, sentence in due.items()))
        return bool(due)

    async def _tell(self, order_id: int, sentences: list[str]) -> None:
        """Signal the order's story; one that is lost begins again, after one that is over this is booked."""
        handle = self._client.get_workflow_handle(contracts.order_workflow_id(order_id))
        try:
            await handle.signal(contracts.EXCHANGE_REPORTS, sentences)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not await stories.restart(self._client, self._database, order_id):
                await self._book_late(order_id)

    async def _book_late(self, order_id: int) -> None:
        """The order's story is over: a trade of it was taken back, or put right."""
        log.info("late_reports", order_id=order_id)
        async with self._database.reading() as conn:
            placed = (await placed_orders.read(conn, [order_id]))[order_id]
        await self._client.start_workflow(
            contracts.LATE_REPORTS_WORKFLOW,
            placed,
            id=contracts.late_reports_id(order_id),
            task_queue=contracts.ORDER_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=contracts.search_attributes(placed),
            static_summary=f"Afterwards: {contracts.summary(placed)}",
        )


async def _for_ever(pull: Callable[[], Awaitable[bool]], wakeup: wakeups.Wakeup) -> None:
    while True:
        try:
            more = await pull()
        except Exception:
            log.exception("pull_failed")
            more = False
        if not more:
            await wakeup.wait(POLL_SECONDS)
