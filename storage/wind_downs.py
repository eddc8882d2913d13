"""What a wind-down finds pending and open, and the keys under which the house places each closing order once.

Called by activities/wind_down.py.
"""

import time
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from psycopg.rows import class_row

from domain.orders import Product
from domain.time import order_id_floor
from domain.wind_down import OpenPosition, Selection
from storage.database import Connection, Database

PENDING_DAYS = 7
"""No order is pending for longer: a day's orders expire with it, one placed after hours with the next."""

_SELECTED = """
    (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
    AND (%(product)s::product IS NULL OR product = %(product)s::product)
    AND (%(instrument_id)s::text IS NULL OR n.instrument_id = %(instrument_id)s)
    AND (%(exchange)s::text IS NULL OR n.exchange = %(exchange)s)
    AND (%(segment)s::segment IS NULL OR n.segment = %(segment)s::segment)
    AND (%(session_class)s::text IS NULL OR n.session_class = %(session_class)s)
"""
_PENDING = f"""
    SELECT order_id, EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND kind = 'CANCEL'
                             AND answered_at_ns IS NULL) AS cancel_requested
    FROM orders o JOIN instruments n USING (instrument_id)
    WHERE order_id >= %(floor)s AND {_SELECTED}
      AND status IN ('PENDING_VALIDATION', 'PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING', 'PARTIALLY_FILLED')
    ORDER BY order_id
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


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """An order that may still trade."""

    order_id: int
    cancel_requested: bool
    """The exchange has not answered yet."""


async def pending_orders(database: Database, selection: Selection, today: date) -> list[PendingOrder]:
    """Orders that may still trade, oldest first."""
    floor = order_id_floor(today - timedelta(PENDING_DAYS))
    async with database.reading() as conn, conn.cursor(row_factory=class_row(PendingOrder)) as cursor:
        await cursor.execute(_PENDING.encode(), {**_values(selection), "floor": floor})
        return await cursor.fetchall()


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
