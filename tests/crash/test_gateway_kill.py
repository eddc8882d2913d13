"""kill -9 of the gateway at each moment between two durable steps: nothing lost, nothing doubled."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings
from domain.orders import OrderType
from storage.database import Database
from tests.support.edge import Edge, edge
from tests.support.eventually import eventually
from tests.support.orders import new_users, submit

POINTS = [
    "gateway.after_claim",
    "gateway.after_send",
    "gateway.before_mark",
    "gateway.before_journal",
    "gateway.after_journal",
]


@pytest.fixture(scope="module")
def exchanges(servers: Settings) -> Iterator[Edge]:
    with edge(servers) as opened:
        yield opened


@pytest.mark.parametrize("point", POINTS)
async def test_a_gateway_killed_there_loses_and_doubles_nothing(
    exchanges: Edge, database: Database, point: str
) -> None:
    """Orders of both sessions are on their way when it dies; the next one ends what it began."""
    exchanges.start_gateway(point, wait=False)
    users = await new_users(database, 4)
    terms: dict[str, Any] = {"order_type": OrderType.MARKET, "price": None, "quantity": 3}
    order_ids = [await submit(database, user, **terms) for user in users for _ in range(3)]
    exchanges.wait_for_crash()
    exchanges.start_gateway()

    async def all_executed() -> bool:
        async with database.reading() as conn:
            cursor = await conn.execute(
                "SELECT count(*) AS n FROM orders JOIN exchange_outbox USING (order_id)"
                " WHERE order_id = ANY(%s) AND status = 'EXECUTED' AND filled_quantity = 3"
                " AND answered_at_ns IS NOT NULL",
                (order_ids,),
            )
            row = await cursor.fetchone()
            return bool(row and row["n"] == len(order_ids))

    try:
        await eventually(all_executed, within=20)
    finally:
        exchanges.kill_gateway()
    await the_exchange_agrees(exchanges, database, order_ids)


async def the_exchange_agrees(exchanges: Edge, database: Database, order_ids: list[int]) -> None:
    """The exchange's file, the inbox and the record tell the same trades, each once."""
    traded: Counter[str] = Counter()
    for trade in exchanges.trades():
        traded[trade["cl_ord_id"]] += int(trade["quantity"])
    assert {order_id: traded[str(order_id)] for order_id in order_ids} == dict.fromkeys(order_ids, 3)
    async with database.reading() as conn:
        cursor = await conn.execute(
            "SELECT order_id, sum((report->>'last_quantity')::int) AS quantity FROM exchange_inbox"
            " WHERE order_id = ANY(%s) AND broken IS NULL AND report->>'exec_type' = 'F' GROUP BY 1",
            (order_ids,),
        )
        inbox = {row["order_id"]: row["quantity"] for row in await cursor.fetchall()}
        cursor = await conn.execute(
            "SELECT order_id, count(*) AS n FROM audit_log WHERE order_id = ANY(%s)"
            " AND event = 'FILL' GROUP BY 1",
            (order_ids,),
        )
        fills = {row["order_id"]: row["n"] for row in await cursor.fetchall()}
        cursor = await conn.execute(
            "SELECT report_id, broken FROM exchange_inbox WHERE order_id = ANY(%s) AND broken IS NOT NULL",
            (order_ids,),
        )
        broken = await cursor.fetchall()
    assert broken == []
    assert inbox == dict.fromkeys(order_ids, 3)
    assert fills == dict.fromkeys(order_ids, 1)
