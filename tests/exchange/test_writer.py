"""The writer keeps going whatever a report carries."""

import asyncio
import time

from redis.asyncio import Redis

from domain.instructions import NewOrder
from domain.orders import Side
from domain.reports import ExecType, ExecutionReport, OrdStatus
from exchange.gateway.writer import Writer
from storage.database import Database
from storage.journals.inbox_rows import Arrival
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users, owe

SESSION = "FIX.4.2:TEST->XW"


def told(number: int, order: NewOrder, exec_type: ExecType, quantity: int) -> Arrival:
    report = ExecutionReport(
        exec_id=f"{order.cl_ord_id}/{number}",
        exec_type=exec_type,
        ord_status=OrdStatus.NEW,
        cl_ord_id=order.cl_ord_id,
        orig_cl_ord_id=None,
        exchange_order_id="X1",
        symbol="RELIANCE",
        side=Side.BUY,
        quantity=quantity,
        cumulative_quantity=0,
        leaves_quantity=quantity,
        last_quantity=0,
        last_price=0,
        price=100,
        trigger_price=None,
        stop=False,
        reject_reason=None,
        text=None,
        transact_time_ns=1,
    )
    return Arrival("XW", SESSION, number, report, time.time_ns())


async def test_a_report_the_database_cannot_hold_is_a_break_and_the_next_one_is_applied(
    database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    orders = [a_new_order(an_order_id()) for _ in range(2)]
    async with database.transaction() as conn:
        for order in orders:
            await owe(conn, user, await acknowledge(conn, user, order), order, exchange="XW")
    writer = Writer(database, redis, lambda _: None)
    writer.arrived(told(1, orders[0], ExecType.NEW, 10))
    writer.arrived(told(2, orders[0], ExecType.REPLACED, 9_999_999_999))
    writer.arrived(told(3, orders[1], ExecType.NEW, 10))
    running = asyncio.create_task(writer.run())
    await writer.settled()
    running.cancel()
    async with database.reading() as conn:
        cursor = await conn.execute(
            "SELECT status, quantity FROM orders WHERE order_id = ANY(%s)",
            ([int(order.cl_ord_id) for order in orders],),
        )
        assert await cursor.fetchall() == [{"status": "OPEN", "quantity": 10}] * 2
        cursor = await conn.execute("SELECT broken FROM exchange_inbox WHERE exchange = 'XW' ORDER BY seq")
        broken = [row["broken"] for row in await cursor.fetchall()]
        assert [bool(b) for b in broken] == [False, True, False]
        assert "out of range" in broken[1]
