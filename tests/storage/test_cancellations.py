"""Cancels in SQL over the real books: wherever an order stands, one transaction answers truthfully."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.orders import OrderEvent, OrderStatus, Side
from domain.rejects import RejectCode
from storage.database import Database
from storage.journals import frozen_outbox, order_queue, outbox
from storage.orders.cancellations import Cancellation, CancelledBy
from storage.orders.canceller import OrderCanceller
from tests.support.orders import new_users, submit
from tests.support.stories import Stories

CLIENT = CancelledBy("client")
HOUSE = CancelledBy("square-off", "Intraday positions are closed before the market closes.")
SESSIONS = ["S0", "S1"]


async def rows(database: Database, query: str, *values: Any) -> list[dict[str, Any]]:
    async with database.reading() as conn:
        return await (await conn.execute(query.encode(), values)).fetchall()


async def outbox_of(database: Database, order_id: int) -> list[dict[str, Any]]:
    return await rows(
        database,
        "SELECT kind, cl_ord_id, withdrawn_at_ns, workflow_due_at_ns, instruction FROM exchange_outbox"
        " WHERE order_id = %s ORDER BY seq",
        order_id,
    )


async def history(database: Database, order_id: int) -> list[tuple[str, str, str]]:
    found = await rows(
        database, "SELECT event, status, actor FROM audit_log WHERE order_id = %s ORDER BY audit_id", order_id
    )
    return [(row["event"], row["status"], row["actor"]) for row in found]


async def leave(database: Database, order_id: int) -> None:
    """The order is sent, and nothing of another test's is claimed with it."""
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1, session = 'S' WHERE order_id = %s",
            (order_id,),
        )


async def refused_by_the_exchange(database: Database, cl_ord_id: str) -> None:
    async with database.transaction() as conn:
        await outbox.answered(conn, [cl_ord_id], time.time_ns())


@pytest.fixture
def canceller(database: Database, redis: Redis) -> OrderCanceller:
    return OrderCanceller(database, redis)


async def acknowledged(database: Database, redis: Redis) -> tuple[Stories, int, int]:
    """An order that stands in the intake alone, of a client with money."""
    stories = Stories(database, redis, None)  # type: ignore[arg-type]
    user_id = await stories.client()
    placed = await stories.place(user_id)
    return stories, user_id, placed.order_id


async def test_an_order_nobody_has_started_ends_at_once_and_is_never_started(
    database: Database, redis: Redis, canceller: OrderCanceller
) -> None:
    _, _, order_id = await acknowledged(database, redis)
    outcome = (await canceller.cancel([order_id], CLIENT))[order_id]
    assert outcome == Cancellation(OrderStatus.CANCELLED)
    assert (await history(database, order_id))[1:] == [("WITHDRAWN", "CANCELLED", "client")]
    assert await outbox_of(database, order_id) == []
    (intake,) = await rows(database, "SELECT * FROM order_intake WHERE order_id = %s", order_id)
    assert intake["gate_passed_at_ns"] and intake["started_at_ns"]
    claimed = await order_queue.claim_orders(database, "test", 10_000, time.time_ns())
    assert order_id not in [placed.order_id for placed in claimed]
    again = (await canceller.cancel([order_id], CLIENT))[order_id]
    assert again.refusal is not None and again.refusal.code is RejectCode.ORDER_ALREADY_FINAL


async def test_what_a_lost_story_had_blocked_for_it_is_given_back(
    database: Database, redis: Redis, canceller: OrderCanceller
) -> None:
    stories, user_id, order_id = await acknowledged(database, redis)
    await stories.book.block(user_id, order_id, Side.BUY, "p", False, 10, 2450_00)
    assert await stories.blocked(user_id) == (10 * 2450_00, 0)
    await canceller.cancel([order_id], CLIENT)
    assert await stories.blocked(user_id) == (0, 0)


async def test_an_order_in_the_outbox_is_withdrawn_and_its_story_told(
    database: Database, canceller: OrderCanceller
) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, "XK")
    outcome = (await canceller.cancel([order_id], HOUSE))[order_id]
    assert outcome.status is OrderStatus.CANCELLED
    (new,) = await outbox_of(database, order_id)
    assert new["withdrawn_at_ns"] and new["workflow_due_at_ns"]
    (order,) = await rows(database, "SELECT * FROM orders WHERE order_id = %s", order_id)
    assert (order["status"], order["reject_code"], order["reject_reason"]) == (
        "CANCELLED",
        None,
        HOUSE.reason,
    )
    assert await history(database, order_id) == [("WITHDRAWN", "CANCELLED", "square-off")]
    async with database.transaction() as conn:
        assert await outbox.claim(conn, "XK", SESSIONS, time.time_ns()) == []


async def test_an_order_that_has_left_is_owed_one_cancel_and_numbered_by_the_database(
    database: Database, canceller: OrderCanceller
) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, "XK")
    await leave(database, order_id)
    for number in (1, 2):
        assert (await canceller.cancel([order_id], CLIENT))[order_id] == Cancellation(
            OrderStatus.PENDING_OPEN
        )
        pending = (await canceller.cancel([order_id], HOUSE))[order_id]
        assert pending.refusal is not None
        assert pending.refusal.code is RejectCode.CANCEL_ALREADY_PENDING
        *_, cancel = await outbox_of(database, order_id)
        assert (cancel["kind"], cancel["cl_ord_id"]) == ("CANCEL", f"{order_id}-c{number}")
        assert cancel["instruction"]["orig_cl_ord_id"] == str(order_id)
        await refused_by_the_exchange(database, f"{order_id}-c{number}")
    assert [event for event, _, _ in await history(database, order_id)] == [OrderEvent.CANCEL_REQUESTED] * 2


async def test_a_change_that_has_not_left_gives_way_to_the_cancel(
    database: Database, canceller: OrderCanceller
) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, "XK")
    await leave(database, order_id)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq,"
            " instruction, created_at_ns) VALUES ('XK', 'REPLACE', %s, %s, %s, 1, '{}', 1)",
            (f"{order_id}-1", order_id, user_id),
        )
    await canceller.cancel([order_id], CLIENT)
    _, change, cancel = await outbox_of(database, order_id)
    assert change["withdrawn_at_ns"] and change["workflow_due_at_ns"]
    assert cancel["kind"] == "CANCEL" and cancel["withdrawn_at_ns"] is None
    assert [event for event, _, _ in await history(database, order_id)] == [
        "CHANGE_WITHDRAWN",
        OrderEvent.CANCEL_REQUESTED,
    ]


async def test_a_cancel_of_an_order_that_was_put_back_and_withdrawn_waits_for_nothing(
    database: Database, canceller: OrderCanceller
) -> None:
    """Claimed, so a cancel is owed; then a freeze puts it back, and the next cancel withdraws it."""
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, "XP")
    async with database.transaction() as conn:
        (claimed,) = await outbox.claim(conn, "XP", SESSIONS, time.time_ns())
    assert (await canceller.cancel([order_id], CLIENT))[order_id].status is OrderStatus.PENDING_OPEN
    async with database.transaction() as conn:
        await frozen_outbox.put_back(conn, [claimed.seq])
    assert (await canceller.cancel([order_id], HOUSE))[order_id].status is OrderStatus.CANCELLED
    assert [bool(row["withdrawn_at_ns"]) for row in await outbox_of(database, order_id)] == [True, True]


async def test_many_at_once_ask_for_one_cancel(database: Database, canceller: OrderCanceller) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, "XK")
    await leave(database, order_id)
    asked = await asyncio.gather(*(canceller.cancel([order_id], CLIENT) for _ in range(8)))
    codes = [one[order_id].refusal for one in asked]
    assert codes.count(None) == 1
    assert {code.code for code in codes if code} == {RejectCode.CANCEL_ALREADY_PENDING}


async def test_a_batch_is_answered_order_by_order_and_an_unknown_one_is_left_out(
    database: Database, canceller: OrderCanceller
) -> None:
    first, second = await new_users(database, 2)
    waits, left = await submit(database, second, "XK"), await submit(database, first, "XK")
    await leave(database, left)
    outcomes = await canceller.cancel([waits, left, 17], HOUSE)
    assert outcomes == {
        waits: Cancellation(OrderStatus.CANCELLED),
        left: Cancellation(OrderStatus.PENDING_OPEN),
    }
    assert await canceller.cancel([], HOUSE) == {}


async def test_a_cancel_and_a_claim_of_the_intake_never_wait_for_each_other(
    database: Database, redis: Redis, canceller: OrderCanceller
) -> None:
    """Each holds what the other wants; whoever claims takes both rows or neither."""
    (user_id,) = await new_users(database, 1)
    stories = Stories(database, redis, None)  # type: ignore[arg-type]
    for _ in range(10):
        order_ids = [(await stories.place(user_id)).order_id for _ in range(5)]
        await asyncio.gather(
            canceller.cancel(order_ids, CLIENT),
            *(order_queue.claim_orders(database, "test", 10_000, time.time_ns()) for _ in range(3)),
        )
        found = await rows(database, "SELECT DISTINCT status FROM orders WHERE order_id = ANY(%s)", order_ids)
        assert [row["status"] for row in found] == ["CANCELLED"]
