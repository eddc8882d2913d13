"""Reports over real rows: each applied once, the odd ones kept as breaks, sends before answers."""

import random
import time
from dataclasses import replace

from domain.orders import Side
from domain.reports import CancelRejected, ExecType, ExecutionReport, OrdStatus, Report
from storage.database import Database
from storage.journals import inbox
from storage.journals.gateway_commit import GatewayCommit, write
from storage.journals.inbox_rows import Arrival, Unreadable
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users, owe

SESSION = "FIX.4.2:TEST->XI"


async def an_order(database: Database) -> int:
    """10 shares, in the outbox."""
    user = (await new_users(database, 1))[0]
    order = a_new_order(an_order_id())
    async with database.transaction() as conn:
        await owe(conn, user, await acknowledge(conn, user, order), order, exchange="XI")
    return int(order.cl_ord_id)


def report(order_id: int, exec_type: ExecType, status: OrdStatus, **changes: object) -> ExecutionReport:
    blank = ExecutionReport(
        exec_id=f"{order_id}/{exec_type}",
        exec_type=exec_type,
        ord_status=status,
        cl_ord_id=str(order_id),
        orig_cl_ord_id=None,
        exchange_order_id=f"X{order_id}",
        symbol="RELIANCE",
        side=Side.BUY,
        quantity=10,
        cumulative_quantity=0,
        leaves_quantity=10,
        last_quantity=0,
        last_price=0,
        price=100,
        trigger_price=None,
        stop=False,
        reject_reason=None,
        text=None,
        transact_time_ns=1,
    )
    return replace(blank, **changes)  # type: ignore[arg-type]


def life(order_id: int) -> list[ExecutionReport]:
    """Acknowledged, filled 4 at 1.00, filled 6 at 0.95."""
    return [
        report(order_id, ExecType.NEW, OrdStatus.NEW),
        report(
            order_id,
            ExecType.TRADE,
            OrdStatus.PARTIALLY_FILLED,
            exec_id=f"{order_id}/a",
            cumulative_quantity=4,
            leaves_quantity=6,
            last_quantity=4,
            last_price=100,
        ),
        report(
            order_id,
            ExecType.TRADE,
            OrdStatus.FILLED,
            exec_id=f"{order_id}/b",
            cumulative_quantity=10,
            leaves_quantity=0,
            last_quantity=6,
            last_price=95,
        ),
    ]


async def journal(database: Database, *reports: Report | Unreadable, first: int = 1) -> GatewayCommit:
    arrivals = [
        Arrival("XI", SESSION, number, told, time.time_ns()) for number, told in enumerate(reports, first)
    ]
    async with database.transaction() as conn:
        return await write(conn, [], arrivals, time.time_ns())


async def the_order(database: Database, order_id: int) -> tuple[str, int, int]:
    async with database.reading() as conn:
        cursor = await conn.execute(
            "SELECT status, filled_quantity, filled_value FROM orders WHERE order_id = %s", (order_id,)
        )
        row = await cursor.fetchone()
        assert row is not None
        return row["status"], row["filled_quantity"], row["filled_value"]


async def test_a_life_told_at_once_is_applied_step_by_step(database: Database) -> None:
    order_id = await an_order(database)
    written = await journal(database, *life(order_id))
    assert await the_order(database, order_id) == ("EXECUTED", 10, 970)
    assert [u.body["event"] for u in written.updates] == ["ACKNOWLEDGED", "PARTIAL_FILL", "FILL"]
    assert written.updates[-1].body["average_price"] == "0.97"
    assert written.updates[-1].body["last_price"] == "0.95"
    assert written.owners == {"test"}


async def test_repeats_in_any_batches_have_no_effect(database: Database) -> None:
    for seed in range(10):
        rng = random.Random(seed)
        order_id = await an_order(database)
        told = life(order_id)
        position = 0
        while position < len(told):
            position += rng.randint(1, 2)
            heard = told[:position]
            await journal(database, *(r for r in heard for _ in range(rng.randint(1, 3))))
        assert await the_order(database, order_id) == ("EXECUTED", 10, 970)
        async with database.reading() as conn:
            cursor = await conn.execute(
                "SELECT count(*) AS n, count(broken) AS broken FROM exchange_inbox WHERE order_id = %s",
                (order_id,),
            )
            assert await cursor.fetchone() == {"n": 3, "broken": 0}


async def test_reports_out_of_order_are_breaks_and_never_too_much(database: Database) -> None:
    for seed in range(6):
        order_id = await an_order(database)
        told = life(order_id)
        random.Random(seed).shuffle(told)
        written = await journal(database, *told)
        _, filled, _ = await the_order(database, order_id)
        applied = [u.body.get("last_quantity", 0) for u in written.updates]
        assert sum(applied) == filled <= 10
        assert len(written.updates) + len(written.breaks) == 3


async def test_a_break_leaves_the_order_and_says_why(database: Database) -> None:
    order_id = await an_order(database)
    wrong = replace(life(order_id)[2], cumulative_quantity=11)
    written = await journal(database, life(order_id)[0], wrong, Unreadable("35=8|38=x|", "tag 38: is odd"))
    assert await the_order(database, order_id) == ("OPEN", 0, 0)
    assert [b.reason for b in written.breaks] == [
        "the exchange counts 11 filled, the journal 6",
        "tag 38: is odd",
    ]


async def test_a_report_of_no_order_of_ours_is_a_break(database: Database) -> None:
    written = await journal(database, report(7, ExecType.NEW, OrdStatus.NEW), first=900)
    assert [b.reason for b in written.breaks] == ["no order has ClOrdID 7"]


async def test_a_status_answer_may_tell_a_state_but_never_a_fill(database: Database) -> None:
    order_id = await an_order(database)
    status = report(order_id, ExecType.ORDER_STATUS, OrdStatus.NEW)
    await journal(database, status, first=1001)
    assert await the_order(database, order_id) == ("OPEN", 0, 0)
    filled = report(
        order_id, ExecType.ORDER_STATUS, OrdStatus.FILLED, cumulative_quantity=10, leaves_quantity=0
    )
    written = await journal(database, filled, first=1002)
    assert "trades are missing" in written.breaks[0].reason
    assert await the_order(database, order_id) == ("OPEN", 0, 0)


async def test_an_order_the_exchange_does_not_know_is_owed_again(database: Database) -> None:
    order_id = await an_order(database)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1, session = 'S' WHERE order_id = %s",
            (order_id,),
        )
    never = report(order_id, ExecType.ORDER_STATUS, OrdStatus.REJECTED, exchange_order_id="NONE")
    written = await journal(database, never, first=2001)
    assert written.unknown == [str(order_id)]
    async with database.reading() as conn:
        cursor = await conn.execute(
            "SELECT sent_at_ns, answered_at_ns FROM exchange_outbox WHERE order_id = %s", (order_id,)
        )
        assert await cursor.fetchone() == {"sent_at_ns": None, "answered_at_ns": None}


async def test_a_refused_cancel_leaves_the_order_and_is_in_its_history(database: Database) -> None:
    order_id = await an_order(database)
    refused = CancelRejected(
        f"{order_id}-1", str(order_id), f"X{order_id}", OrdStatus.NEW, False, 0, "Too late"
    )
    written = await journal(database, life(order_id)[0], refused, first=3001)
    assert written.updates[-1].body["reject_code"] == "EXCHANGE_TOO_LATE"
    assert await the_order(database, order_id) == ("OPEN", 0, 0)


async def test_the_next_inbound_number_never_falls(database: Database) -> None:
    order_id = await an_order(database)
    await journal(database, *life(order_id), first=5000)
    await journal(database, life(order_id)[0], first=12)
    async with database.reading() as conn:
        assert await inbox.next_inbound(conn, SESSION) == 5003
        assert await inbox.next_inbound(conn, "never heard of") == 1
