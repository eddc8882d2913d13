"""The operations worker's process: what happens by the clock, and what the risk desk has set in motion.

Its schedules are made or updated at the start; its workflows go on in another worker when this one dies.
Beside them it watches the market: the index for a market-wide halt, accounts for exposure above their
limits; and Temporal: orders whose story is lost, schedules that are. Started by `hundi operations`.
"""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import uvloop
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.market_day import MarketDay
from activities.reconciliation import Reconciliation
from activities.wind_down import WindDowns
from config.settings import Settings, settings
from domain.time import trade_date
from exchange import span_files
from exchange.span_files import SpanFiles
from storage import wakeups
from storage.database import open_database
from storage.instruments import load_instruments
from storage.intake import Intake
from storage.margin_book import MarginBook
from storage.order_canceller import OrderCanceller
from storage.portfolios import Portfolios
from storage.redis_client import open_redis
from telemetry.process import telemetry
from workers import schedules
from workers.health import reporting
from workers.market_watch import MarketWatch
from workers.story_sweep import StorySweep
from workflows import contracts
from workflows.connection import connect
from workflows.market_day import DayRollWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.wind_down import SquareOffWorkflow, WindDownWorkflow


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    with telemetry(settings(), "operations"):
        uvloop.run(_run(settings()))


async def _run(ours: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    client = await connect(ours, "operations")
    async with (
        open_database(ours.postgres_dsn, size=8, application="operations") as database,
        open_redis(ours.redis_dsn) as redis,
        wakeups.listening(redis, wakeups.RISK_LIMITS) as limits,
    ):
        instruments = await load_instruments(database)
        intake = Intake(database, redis)
        wind_downs = WindDowns(database, intake, instruments, OrderCanceller(database, redis))
        watch = MarketWatch(database, redis, instruments, ours.exchanges)
        spans = SpanFiles(ours.risk_files, ours.exchanges)
        view = MarginBook(redis, database)
        portfolios = Portfolios(view, instruments, spans)
        reconciliation = Reconciliation(database, redis, portfolios)
        names = await schedules.ensure(client, trade_date(time.time_ns()))
        async with (
            span_files.following(spans),
            _worker(client, wind_downs, reconciliation, MarketDay(database, view)),
            # A watch that dies by a bug takes the process with it rather than limping on.
            asyncio.TaskGroup() as tasks,
            reporting(redis, "operations") as health,
        ):
            lasting = [*watch.parts(limits), StorySweep(client, database).run(), schedules.keep(client)]
            watching = [tasks.create_task(part) for part in lasting]
            health.detail = f"{len(names)} schedules: {', '.join(names)}"
            await stopped.wait()
            for task in watching:
                task.cancel()


def _worker(client: Client, wind_downs: WindDowns, reconciliation: Reconciliation, day: MarketDay) -> Worker:
    return Worker(
        client,
        task_queue=contracts.OPERATIONS_QUEUE,
        workflows=[WindDownWorkflow, SquareOffWorkflow, ReconciliationWorkflow, DayRollWorkflow],
        activities=[
            wind_downs.plan_square_off,
            wind_downs.cancel_pending,
            wind_downs.close_positions,
            reconciliation.reconcile,
            day.prepare_day,
            day.warm_margin_views,
        ],
        # As the order worker's: stories use no clock, no I/O and no randomness.
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_executor=ThreadPoolExecutor(1),
    )


if __name__ == "__main__":
    main()
