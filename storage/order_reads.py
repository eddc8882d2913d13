"""Orders as their owner reads them; every query is bound to one user."""

from typing import Any

from psycopg.rows import DictRow

from storage.database import Database

_ORDER = """
    SELECT order_id, instrument_id, order_type, transaction_type, product, validity, quantity, price,
           trigger_price, market_protection, status, filled_quantity, filled_value, exchange_order_id,
           reject_code, reject_reason, tag, parent_id, created_at_ns, updated_at_ns
    FROM orders WHERE user_id = %(user_id)s
"""


async def list_orders(
    database: Database,
    user_id: int,
    *,
    first_id: int,
    before_id: int,
    status: str | None,
    instrument_id: str | None,
    limit: int,
) -> list[DictRow]:
    """Newest first, ids from `first_id` up to and not including `before_id`; one more than `limit`."""
    query = _ORDER + " AND order_id >= %(first)s AND order_id < %(before)s"
    if status is not None:
        query += " AND status = %(status)s::order_status"
    if instrument_id is not None:
        query += " AND instrument_id = %(instrument_id)s"
    values = {
        "user_id": user_id,
        "first": first_id,
        "before": before_id,
        "status": status,
        "instrument_id": instrument_id,
        "limit": limit + 1,
    }
    return await _all(database, query + " ORDER BY order_id DESC LIMIT %(limit)s", values)


async def find_order(database: Database, user_id: int, order_id: int) -> DictRow | None:
    """None when there is none, or when it is another user's."""
    rows = await _all(
        database, _ORDER + " AND order_id = %(order_id)s", {"user_id": user_id, "order_id": order_id}
    )
    return rows[0] if rows else None


async def slices_of(database: Database, user_id: int, parent_id: int) -> list[DictRow]:
    """Of a sliced order, in order."""
    query = _ORDER + " AND parent_id = %(parent_id)s ORDER BY order_id"
    return await _all(database, query, {"user_id": user_id, "parent_id": parent_id})


async def order_history(database: Database, user_id: int, order_ids: list[int]) -> list[DictRow]:
    """The orders' records, oldest first."""
    return await _all(
        database,
        """SELECT order_id, user_seq, occurred_at_ns, event, status, detail FROM audit_log
           WHERE order_id = ANY(%(order_ids)s) AND user_id = %(user_id)s ORDER BY audit_id""",
        {"user_id": user_id, "order_ids": order_ids},
    )


async def market_phases(database: Database) -> list[DictRow]:
    return await _all(database, "SELECT * FROM market_phases ORDER BY exchange, segment, session_class", {})


async def _all(database: Database, query: str, values: dict[str, Any]) -> list[DictRow]:
    async with database.reading() as conn:
        found = await conn.execute(query.encode(), values)
        return await found.fetchall()
