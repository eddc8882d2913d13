"""What a wind-down finds pending and open, and the keys under which the house places each closing order once.

Called by activities/wind_down.py.
"""

import time
from uuid import UUID

from domain.orders import Product
from domain.wind_down import OpenPosition, Selection
from storage.database import Connection, Database
from storage.order_reads import LIVE

_SELECTED = """
    (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
    AND (%(product)s::product IS NULL OR product = %(product)s::product)
    AND (%(instrument_id)s::text IS NULL OR n.instrument_id = %(instrument_id)s)
    AND (%(exchange)s::text IS NULL OR n.exchange = %(exchange)s)
    AND (%(segment)s::segment IS NULL OR n.segment = %(segment)s::segment)
    AND (%(session_class)s::text IS NULL OR n.session_class = %(session_class)s)
"""
_PENDING = f"""
    SELECT order_id FROM orders o JOIN instruments n USING (instrument_id)
    WHERE {LIVE} AND {_SELECTED} ORDER BY order_id
"""
_OPEN = f"""
    SELECT user_id, instrument_id, product, buy_quantity - sell_quantity AS net
    FROM positions JOIN instruments n USING (instrument_id)
    WHERE buy_quantity <> sell_quantity AND {_SELECTED} ORDER BY user_id, instrument_id, product
"""
_KEY = """
    INSERT INTO house_orders (purpose, user_id, actor, created_at_ns) VALUES (%s, %s, %s, %s)
    ON CONFLICT (purpose) DO UPDATE SET purpose = excluded.purpose RETURNING key
"""


async def pending_orders(database: Database, selection: Selection) -> list[int]:
    """Orders that may still trade, whatever day they were placed, oldest first."""
    async with database.reading() as conn:
        found = await conn.execute(_PENDING.encode(), _values(selection))
        return [row["order_id"] for row in await found.fetchall()]


async def open_positions(database: Database, selection: Selection) -> list[OpenPosition]:
    async with database.reading() as conn:
        found = await conn.execute(_OPEN.encode(), _values(selection))
        return [
            OpenPosition(row["user_id"], row["instrument_id"], Product(row["product"]), row["net"])
            for row in await found.fetchall()
        ]


async def house_key(conn: Connection, purpose: str, user_id: int, actor: str) -> UUID:
    """The idempotency key of the house's order for this purpose; the same for every repeat."""
    made = await conn.execute(_KEY, (purpose, user_id, actor, time.time_ns()))
    row = await made.fetchone()
    assert row is not None
    key: UUID = row["key"]
    return key


def _values(selection: Selection) -> dict[str, object]:
    return {name: getattr(selection, name) for name in Selection.__slots__}
