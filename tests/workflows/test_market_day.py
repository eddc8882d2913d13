"""The day roll on a real Temporal server: every step of its story, by every activity there is."""

import inspect
import time

from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.worker import Worker, WorkflowRunner

from activities.day_roll import MarketDay
from domain.orders import Product, Side
from storage.database import Database
from tests.support.trading_floor import TradingFloor
from workflows.day_roll import DayRollWorkflow

CASH, DAY_NS = 10_00_000_00, 86_400_000_000_000


async def test_the_next_day_begins_with_nothing_bought_sold_or_realised_in_the_books(
    database: Database, redis: Redis, temporal: Client, runner: WorkflowRunner
) -> None:
    floor = TradingFloor(database, redis)
    user_id = await floor.account(CASH)
    bought = await floor.place(user_id, Side.BUY, "SBIN", 10, product=Product.MIS, price=1000_00)
    await floor.fill(bought, 10)
    sold = await floor.place(user_id, Side.SELL, "SBIN", 10, product=Product.MIS, price=990_00)
    await floor.fill(sold, 10)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE trades SET traded_at_ns = traded_at_ns - %s WHERE user_id = %s", (DAY_NS, user_id)
        )
    day, queue = MarketDay(database, floor.view), f"day-{time.time_ns()}"
    methods = [method for _, method in inspect.getmembers(day, inspect.ismethod)]
    steps = [method for method in methods if hasattr(method, "__temporal_activity_definition")]
    async with Worker(
        temporal, task_queue=queue, workflows=[DayRollWorkflow], activities=steps, workflow_runner=runner
    ):
        for number in range(2):
            await temporal.execute_workflow(DayRollWorkflow.run, id=f"{queue}-{number}", task_queue=queue)
    ledger = await floor.ledger(user_id)
    assert (ledger["realized_pnl"], ledger["cash"], ledger["available_cash"]) == (
        0,
        CASH - 100_00,
        CASH - 100_00,
    )
    assert await floor.rows("SELECT * FROM positions WHERE user_id = %s", user_id) == []
