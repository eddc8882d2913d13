"""Orders as their owner reads them; every query is bound to one user.

The list of a day holds what was placed on it, whatever still lives, and what came to its end on it: an
after-market order is seen until it is final and on the day it became so. Called by the API.
"""

from datetime import date, time
from typing import Any

from psycopg.rows import DictRow

from domain.time import ORDER_ID_SERIALS, ist_ns, order_id_floor
from storage.database import Database
from storage.live_orders import LIVE, oldest_living

_ORDER = """
    SELECT order_id, instrument_id, order_type, transaction_type, product, validity, quantity, price,
           trigger_price, market_protection, status, filled_quantity, filled_value, exchange_order_id,
           reject_code, reject_reason, tag, parent_id, created_at_ns, updated_at_ns
    FROM orders WHERE user_id = %(user_id)s
"""
# Three ranges, each by its own index: one condition with OR would read every order that a user ever placed.
_OF_A_DAY = (
    "order_id >= %(today)s AND order_id < %(before)s",
    f"order_id < LEAST(%(today)s, %(before)s) AND {LIVE}",
    f"order_id >= %(after_market)s AND order_id < LEAST(%(today)s, %(before)s) AND NOT {LIVE}"
    # Settlement changes every order of the days before: it is no end of theirs.
    " AND updated_at_ns >= %(midnight)s AND status <> 'SETTLED'",
)


async def list_orders(
    database: Database,
    user_id: int,
    *,
    today: date,
    before_id: int | None,
    status: str | None,
    instrument_id: str | None,
    limit: int,
) -> list[DictRow]:
    """The orders of a day, newest first, ids below `before_id` where it is given; one more than `limit`."""
    narrowed = " AND status = %(status)s::order_status" if status is not None else ""
    narrowed += " AND instrument_id = %(instrument_id)s" if instrument_id is not None else ""
    query = " UNION ALL ".join(f"({_ORDER} AND {part}{narrowed})" for part in _OF_A_DAY)
    floor = order_id_floor(today)
    values = {
        "user_id": user_id,
        "today": floor,
        "before": floor + ORDER_ID_SERIALS if before_id is None else before_id,
        "after_market": oldest_living(today),
        "midnight": ist_ns(today, time()),
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
