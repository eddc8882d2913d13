"""What an order worker has to do: orders to start, and reports and withdrawals to tell workflows of.

Claims are leases: a row that was claimed and not started in time is claimed by another worker, a report
that was told and not booked in time is told again. Telling twice is harmless.
"""

from typing import Any

from psycopg.rows import DictRow

from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side, SliceOf, Validity
from storage.database import Database

LEASE_NS = 2_000_000_000
FOREIGN_AFTER_NS = 1_000_000_000
"""A report that its owner has not taken by then is anyone's."""
TELL_AGAIN_NS = 5_000_000_000

# What a workflow is given of its order.
_OF_AN_ORDER = """
    orders.order_id, orders.user_id, seq, accepted_at_ns, instrument_id, order_type, transaction_type,
    product, validity, quantity, price, trigger_price, market_protection, traceparent,
    EXISTS (SELECT FROM house_orders h
            WHERE (h.user_id, h.key) = (orders.user_id, orders.idempotency_key)) AS by_house,
    parent_id, (SELECT s.quantity FROM sliced_orders s WHERE s.order_id = parent_id) AS whole
"""
_CLAIM = f"""
    WITH before_gate AS (
        SELECT count(*) AS n FROM order_intake JOIN orders USING (order_id)
        WHERE claimed_by = %(owner)s AND gate_passed_at_ns IS NULL AND status = 'PENDING_VALIDATION'
          AND (started_at_ns IS NOT NULL OR claimed_at_ns >= %(now)s - %(lease)s)
    ), next AS (
        SELECT seq FROM order_intake
        WHERE started_at_ns IS NULL AND (claimed_at_ns IS NULL OR claimed_at_ns < %(now)s - %(lease)s)
        ORDER BY seq LIMIT GREATEST(0, %(most)s - (SELECT n FROM before_gate)) FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE order_intake SET claimed_by = %(owner)s, claimed_at_ns = %(now)s
        WHERE seq IN (SELECT seq FROM next) RETURNING seq, order_id, accepted_at_ns
    )
    UPDATE orders SET owner = %(owner)s FROM claimed WHERE orders.order_id = claimed.order_id
    RETURNING {_OF_AN_ORDER}
"""
_DUE = """
    UPDATE exchange_inbox SET signalled_at_ns = %(now)s WHERE seq IN (
        SELECT seq FROM exchange_inbox
        WHERE consumed_at_ns IS NULL AND broken IS NULL AND order_id IS NOT NULL
          AND (owner = %(owner)s OR received_at_ns < %(now)s - %(foreign)s)
          AND (signalled_at_ns IS NULL OR signalled_at_ns < %(now)s - %(again)s)
        ORDER BY seq LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING seq, order_id, report
"""
_PLACED = f"SELECT {_OF_AN_ORDER} FROM orders JOIN order_intake USING (order_id) WHERE order_id = %s"
_WITHDRAWN = """
    UPDATE exchange_outbox o SET workflow_due_at_ns = %(now)s + %(again)s
    FROM (SELECT seq FROM exchange_outbox WHERE workflow_due_at_ns <= %(now)s
          ORDER BY workflow_due_at_ns LIMIT 500 FOR UPDATE SKIP LOCKED) due
    WHERE o.seq = due.seq RETURNING o.order_id
"""


async def claim_orders(database: Database, owner: str, most: int, now_ns: int) -> list[PlacedOrder]:
    """Orders to start now, oldest first; at most `most` of this owner are before the gate at once."""
    values = {"owner": owner, "most": most, "now": now_ns, "lease": LEASE_NS}
    async with database.transaction() as conn:
        rows = await (await conn.execute(_CLAIM, values)).fetchall()
    return [_placed(row, owner) for row in sorted(rows, key=lambda row: row["seq"])]


async def mark_started(database: Database, order_ids: list[int], now_ns: int) -> None:
    """Their workflows exist: the intake need not offer them again."""
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE order_intake SET started_at_ns = %s WHERE order_id = ANY(%s)", (now_ns, order_ids)
        )


async def reports_due(database: Database, owner: str, now_ns: int) -> dict[int, list[DictRow]]:
    """Reports to tell workflows of, by order, in the order they came."""
    values: dict[str, Any] = {
        "owner": owner,
        "now": now_ns,
        "foreign": FOREIGN_AFTER_NS,
        "again": TELL_AGAIN_NS,
    }
    async with database.transaction() as conn:
        rows = await (await conn.execute(_DUE, values)).fetchall()
    due: dict[int, list[DictRow]] = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        due.setdefault(row["order_id"], []).append(row)
    return due


async def placed(database: Database, order_id: int, owner: str) -> PlacedOrder:
    """An order as its workflow was given it, its terms as they stand now. Raises LookupError."""
    async with database.reading() as conn:
        row = await (await conn.execute(_PLACED, (order_id,))).fetchone()
    if row is None:
        raise LookupError(f"order {order_id} was never acknowledged")
    return _placed(row, owner)


async def withdrawals_due(database: Database, now_ns: int) -> list[int]:
    """Orders that, or whose change, were withdrawn without their workflows, until these know (their booking
    step says so, storage/unbooked.py).
    """
    async with database.transaction() as conn:
        rows = await (await conn.execute(_WITHDRAWN, {"now": now_ns, "again": TELL_AGAIN_NS})).fetchall()
    return [row["order_id"] for row in rows]


def _placed(row: DictRow, owner: str) -> PlacedOrder:
    terms = OrderTerms(
        row["instrument_id"],
        OrderType(row["order_type"]),
        Side(row["transaction_type"]),
        Product(row["product"]),
        Validity(row["validity"]),
        row["quantity"],
        row["price"],
        row["trigger_price"],
        row["market_protection"],
    )
    return PlacedOrder(
        row["order_id"],
        row["user_id"],
        row["seq"],
        row["accepted_at_ns"],
        terms,
        row["traceparent"],
        owner,
        row["by_house"],
        None if row["parent_id"] is None else SliceOf(row["parent_id"], row["whole"]),
    )
