"""Requests for changes are counted by the database, whatever process asks, and lock no order."""

import asyncio
import time

import psycopg
import pytest

from config.settings import Settings
from domain.events import RecordEvent
from domain.rejects import RejectCode
from storage.audit import AuditEntry
from storage.database import Database
from storage.orders import change_requests
from storage.orders.cancellations import CancelledBy, cancel
from storage.orders.change_requests import REQUESTS_A_SECOND, REQUESTS_MOST
from tests.support.orders import new_users, submit


@pytest.fixture
async def order_id(database: Database) -> int:
    (user_id,) = await new_users(database, 1)
    return await submit(database, user_id, "XR")


async def take_number(database: Database, order_id: int) -> int | None:
    asked = AuditEntry(
        time.time_ns(), 0, RecordEvent.CHANGE_REQUESTED, "client", detail={"order_id": str(order_id)}
    )
    return await change_requests.take_number(database, order_id, asked)


async def numbers(database: Database, order_id: int, requests: int) -> list[int | None]:
    return await asyncio.gather(*(take_number(database, order_id) for _ in range(requests)))


async def next_second(database: Database, order_id: int) -> None:
    async with database.transaction() as conn:
        await conn.execute("UPDATE change_requests SET second = second - 1 WHERE order_id = %s", (order_id,))


async def test_of_requests_at_once_each_gets_its_own_number_and_ten_a_second_get_one(
    database: Database, order_id: int
) -> None:
    # As PostgreSQL makes a whole number of seconds: the nearest.
    began = round(time.time())
    taken = [number for number in await numbers(database, order_id, 25) if number is not None]
    seconds = round(time.time()) - began + 1
    assert REQUESTS_A_SECOND <= len(taken) <= min(25, seconds * REQUESTS_A_SECOND)
    assert sorted(taken) == list(range(1, len(taken) + 1))
    await next_second(database, order_id)
    assert await take_number(database, order_id) == len(taken) + 1


async def test_a_request_that_waited_from_the_second_before_counts_in_this_one(
    database: Database, order_id: int
) -> None:
    assert await take_number(database, order_id) == 1
    async with database.transaction() as conn:
        # As one finds the row that waited for it while the second turned and nine others came.
        await conn.execute(
            "UPDATE change_requests SET second = second + 60, in_second = %s WHERE order_id = %s",
            (REQUESTS_A_SECOND - 1, order_id),
        )
    assert [number for number in await numbers(database, order_id, 5) if number is not None] == [2]


async def test_an_order_s_requests_have_an_end_far_below_what_a_workflow_takes(
    database: Database, order_id: int
) -> None:
    assert await take_number(database, order_id) == 1
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE change_requests SET requests = %s, in_second = 0 WHERE order_id = %s",
            (REQUESTS_MOST - 1, order_id),
        )
    assert await take_number(database, order_id) == REQUESTS_MOST
    await next_second(database, order_id)
    assert await take_number(database, order_id) is None
    refusal = (await change_requests.under_way(database, order_id)).refusal
    assert refusal is not None and refusal.code is RejectCode.CHANGE_REQUESTS_EXHAUSTED
    assert REQUESTS_MOST < 1_000


async def test_a_request_waits_for_nobody_who_has_the_order_s_row(
    database: Database, servers: Settings, order_id: int
) -> None:
    async with await psycopg.AsyncConnection.connect(servers.postgres_dsn) as other:
        await other.execute("SELECT FROM orders WHERE order_id = %s FOR UPDATE", (order_id,))
        async with asyncio.timeout(5):
            assert (await change_requests.under_way(database, order_id)).refusal is None
            assert await take_number(database, order_id) == 1


async def test_what_is_under_way_is_refused_from_the_row(database: Database, order_id: int) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1 WHERE order_id = %s", (order_id,)
        )
        await conn.execute(
            "INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq,"
            " instruction, created_at_ns, claimed_at_ns, sent_at_ns)"
            " VALUES ('XC', 'REPLACE', %s, %s, 1, 1, '{}', 1, 1, 1)",
            (f"{order_id}-1", order_id),
        )
    changing = (await change_requests.under_way(database, order_id)).refusal
    assert changing is not None and changing.code is RejectCode.CHANGE_ALREADY_PENDING
    async with database.transaction() as conn:
        await cancel(conn, [order_id], CancelledBy("client"))
    cancelling = (await change_requests.under_way(database, order_id)).refusal
    assert cancelling is not None and cancelling.code is RejectCode.CANCEL_ALREADY_PENDING
