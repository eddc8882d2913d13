"""The operations worker's process: what happens by the clock, and what the risk desk has set in motion.

Its workflows have a namespace of their own, so that orders stand alone in theirs. Its schedules are made or
updated at the start, and the day roll is done, whose hour may have passed; its workflows go on in another
worker when this one dies. Beside them it watches the market: its time for the intraday square-off, the index
for a market-wide halt, accounts for exposure above their limits; the journals for reports that are not
booked; and Temporal: orders whose story is lost, schedules that are. Started by `hundi operations`.
"""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor

import uvloop
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.day_roll import MarketDay
from activities.reconciliation import Reconciliation
from activities.trade_comparison import TradeFiles
from activities.wind_down import SquareOffPlan, WindDowns
from bus import wakeups
from bus.background import end
from bus.health import reporting
from bus.redis_client import open_redis
from config.sessions import broker_hours
from config.settings import Settings, settings
from exchange.files import span_directory
from exchange.files.span_directory import SpanFiles
from storage.books.keeping import BookKeeping
from storage.database import open_database
from storage.journals.intake import Intake
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView
from storage.market.instruments import load_instruments
from storage.orders.canceller import OrderCanceller
from telemetry.process import telemetry
from workers import schedules
from workers.market_watch import MarketWatch
from workers.operations_move import leave_orders
from workers.report_watch import ReportWatch
from workers.series_roll import end_at_next_roll
from workers.square_off import SquareOffWatch
from workers.story_sweep import StorySweep
from workflow_api import contracts
from workflow_api.connection import connect, connect_operations
from workflows.day_roll import DayRollWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.wind_down import SquareOffWorkflow, WindDownWorkflow


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings().require("postgres_url", "redis_url", "temporal_address")
    end_at_next_roll()
    with telemetry(settings(), "operations"):
        uvloop.run(_run(settings()))


async def _run(ours: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    orders, client = await connect(ours, "operations"), await connect_operations(ours, "operations")
    async with (
        open_database(ours.postgres_dsn, size=8, application="operations") as database,
        open_redis(ours.redis_dsn) as redis,
        wakeups.listening(redis, wakeups.RISK_LIMITS) as limits,
        wakeups.listening(redis, wakeups.MARKET_STATUS) as announced,
    ):
        instruments = await load_instruments(database)
        intake = Intake(database, redis)
        wind_downs = WindDowns(database, intake, instruments, OrderCanceller(database, redis))
        watch = MarketWatch(database, redis, instruments, ours.exchanges)
        spans = SpanFiles(ours.risk_files, ours.exchanges)
        view = MarginView(redis, database)
        portfolios = DerivativeMargins(view, instruments, spans)
        reconciliation = Reconciliation(database, redis, portfolios, ours.intraday_margin_percent)
        keeping = BookKeeping(database, redis, portfolios, ours.intraday_margin_percent)
        trade_files = TradeFiles(database, redis, ours.trade_files, ours.exchanges)
        squaring = SquareOffWatch(database, redis, broker_hours(), lambda asked: _square_off(client, asked))
        await leave_orders(orders, client)
        names = await schedules.ensure(client)
        await schedules.begin_day(client)
        async with (
            span_directory.following(spans),
            _worker(client, wind_downs, reconciliation, trade_files, MarketDay(database, view)),
            # A watch that dies by a bug takes the process with it rather than limping on.
            asyncio.TaskGroup() as tasks,
            reporting(redis, "operations") as health,
        ):
            lasting = [
                *watch.parts(limits),
                squaring.run(announced),
                ReportWatch(database, redis, keeping).run(),
                StorySweep(orders, database).run(),
                schedules.keep(client),
            ]
            watching = [tasks.create_task(part) for part in lasting]
            health.detail = f"{len(names)} schedules: {', '.join(names)}"
            await stopped.wait()
            await end(*watching)


def _worker(
    client: Client,
    wind_downs: WindDowns,
    reconciliation: Reconciliation,
    trade_files: TradeFiles,
    day: MarketDay,
) -> Worker:
    return Worker(
        client,
        task_queue=contracts.OPERATIONS_QUEUE,
        workflows=[WindDownWorkflow, SquareOffWorkflow, ReconciliationWorkflow, DayRollWorkflow],
        activities=[
            wind_downs.plan_square_off,
            wind_downs.cancel_pending,
            wind_downs.close_positions,
            reconciliation.reconcile,
            trade_files.compare_trades,
            day.prepare_day,
            day.roll_figures,
            day.warm_margin_views,
        ],
        # As the order worker's: stories use no clock, no I/O and no randomness.
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_executor=ThreadPoolExecutor(1),
    )


async def _square_off(client: Client, asked: SquareOffPlan) -> None:
    """One of an exchange's class at a time; what is running goes on."""
    assert asked.exchange is not None
    what = f"{asked.exchange} {asked.session_class}, {asked.day}"
    await client.start_workflow(
        contracts.SQUARE_OFF_WORKFLOW,
        asked,
        id=contracts.square_off_id(asked.exchange, asked.session_class),
        task_queue=contracts.OPERATIONS_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"Square off intraday positions of {what}",
    )


if __name__ == "__main__":
    main()
