"""Booking against a gateway that commits at the worst moment, over the real database and margin view."""

import time
from typing import Any

from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from domain.orders import OrderStatus, PlacedOrder
from storage.books import booking
from storage.database import Database
from tests.support import orders
from tests.support.builders import some_terms
from tests.support.portfolios import some_portfolios


class _Raced:
    """A connection on which the exchange's last word commits right after the `after`-th statement."""

    def __init__(self, conn: Any, database: Database, order_id: int, after: int) -> None:
        self._conn, self._database, self._order_id, self._left = conn, database, order_id, after

    async def execute(self, *statement: Any) -> Any:
        answer = await self._conn.execute(*statement)
        self._left -= 1
        if self._left == 0:
            await exchange_cancels(self._database, self._order_id)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


async def exchange_cancels(database: Database, order_id: int) -> None:
    """As the gateway journals it: report and status in one commit."""
    report: dict[str, Any] = {
        "kind": "cancel_rejected",
        "cl_ord_id": f"{order_id}-1",
        "orig_cl_ord_id": str(order_id),
    }
    report |= {"exchange_order_id": "1", "ord_status": "4", "response_to_replace": False}
    async with database.transaction() as conn:
        await conn.execute("UPDATE orders SET status = 'CANCELLED' WHERE order_id = %s", (order_id,))
        await conn.execute(
            "INSERT INTO exchange_inbox (exchange, report_id, session, msg_seq_num, order_id, user_id,"
            " report, received_at_ns) VALUES ('NSE', %s, 'test', 1, %s,"
            " (SELECT user_id FROM orders WHERE order_id = %s), %s, %s)",
            (
                f"race-{order_id}",
                order_id,
                order_id,
                Jsonb(report | {"reject_reason": None, "text": None}),
                time.time_ns(),
            ),
        )


async def test_a_report_that_commits_during_a_booking_is_either_wholly_seen_or_still_due(
    database: Database, redis: Redis
) -> None:
    portfolios = some_portfolios(database, redis)
    for after in (1, 2, 3):
        (user_id,) = await orders.new_users(database, 1)
        async with database.transaction() as conn:
            await conn.execute(
                "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, 100000, 1)", (user_id,)
            )
        order_id = await orders.submit(database, user_id)
        placed = PlacedOrder(order_id, user_id, 1, time.time_ns(), some_terms(), "", "test")
        async with database.transaction() as conn:
            raced: Any = _Raced(conn, database, order_id, after)
            booked = await booking.book(raced, portfolios, [placed], 20)
            seen = booked.standings[order_id].status is OrderStatus.CANCELLED
        async with database.reading() as conn:
            found = await conn.execute(
                "SELECT consumed_at_ns IS NULL AS due FROM exchange_inbox WHERE order_id = %s", (order_id,)
            )
            row = await found.fetchone()
        assert row is None or row["due"] is not seen, f"lost after statement {after}"
