"""What a wind-down finds pending and open, and the keys under which the house places each closing order once.

Called by activities/wind_down.py.
"""

import time
from dataclasses import dataclass, replace
from uuid import UUID

from psycopg.rows import class_row

from domain.orders import Product
from domain.wind_down import OpenPosition, Selection
from storage.database import Connection, Database
from storage.live_orders import LIVE

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
    WHERE {LIVE} AND {_SELECTED} AND %(carried_before_ns)s::bigint IS NULL ORDER BY order_id
"""
_PENDING_OF_CLIENTS = f"""
    SELECT FROM orders o JOIN instruments n USING (instrument_id)
    WHERE {LIVE} AND {_SELECTED} AND %(carried_before_ns)s::bigint IS NULL
      AND NOT EXISTS (SELECT FROM house_orders h WHERE (h.user_id, h.key) = (o.user_id, o.idempotency_key))
    LIMIT 1
"""
# What is carried over is what was open at an instant, less what has closed it since: the oldest closes first.
# A hold is what the books do not know to be over yet, so a fill that is not booked still counts as closing;
# an order before its hold counts whole. One statement, one snapshot.
_OPEN = f"""
    WITH opened AS (
        SELECT user_id, instrument_id, product, net, net - since.bought + since.sold AS carried,
               since.bought, since.sold
        FROM (SELECT p.user_id, instrument_id, p.product, p.buy_quantity - p.sell_quantity AS net
              FROM positions p JOIN instruments n USING (instrument_id)
              WHERE p.buy_quantity <> p.sell_quantity AND {_SELECTED}) p
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(quantity) FILTER (WHERE transaction_type = 'BUY'), 0)::int AS bought,
                   COALESCE(sum(quantity) FILTER (WHERE transaction_type = 'SELL'), 0)::int AS sold
            FROM trades t
            WHERE (t.user_id, t.instrument_id, t.product) = (p.user_id, p.instrument_id, p.product)
              AND t.traded_at_ns >= %(carried_before_ns)s::bigint AND undone_by IS NULL) since
    ), due AS (
        SELECT user_id, instrument_id, product,
               CASE WHEN carried > 0 THEN GREATEST(0, carried - sold)
                    ELSE LEAST(0, carried + bought) END AS net
        FROM opened
    )
    SELECT user_id, instrument_id, product, net AS net_quantity,
           (held.quantity + new.quantity)::int AS closing_quantity
    FROM due d
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(open_quantity + close_quantity), 0) AS quantity FROM margin_holds h
        WHERE (h.user_id, h.instrument_id, h.product) = (d.user_id, d.instrument_id, d.product)
          AND h.state = 'BLOCKED' AND (h.transaction_type = 'SELL') = (d.net > 0)) held
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(quantity), 0) AS quantity FROM orders o
        WHERE (o.user_id, o.instrument_id, o.product) = (d.user_id, d.instrument_id, d.product)
          AND o.status = 'PENDING_VALIDATION' AND (o.transaction_type = 'SELL') = (d.net > 0)) new
    WHERE net <> 0 ORDER BY user_id, instrument_id, product
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


async def pending_orders(database: Database, selection: Selection) -> list[PendingOrder]:
    """Orders that may still trade, whatever day they were placed, oldest first."""
    async with database.reading() as conn, conn.cursor(row_factory=class_row(PendingOrder)) as cursor:
        await cursor.execute(_PENDING.encode(), _values(selection))
        return await cursor.fetchall()


async def has_pending_of_clients(database: Database, selection: Selection) -> bool:
    """Whether an order that the house did not place may still trade."""
    async with database.reading() as conn:
        found = await conn.execute(_PENDING_OF_CLIENTS.encode(), _values(selection))
        return await found.fetchone() is not None


async def open_positions(database: Database, selection: Selection) -> list[OpenPosition]:
    """What is open, each with what orders on their way are closing of it."""
    async with database.reading() as conn, conn.cursor(row_factory=class_row(OpenPosition)) as cursor:
        await cursor.execute(_OPEN.encode(), _values(selection))
        return [replace(row, product=Product(row.product)) for row in await cursor.fetchall()]


async def house_key(conn: Connection, purpose: str, user_id: int, actor: str) -> UUID:
    """The idempotency key of the house's order for this purpose; the same for every repeat."""
    made = await conn.execute(_KEY, (purpose, user_id, actor, time.time_ns()))
    row = await made.fetchone()
    assert row is not None
    key: UUID = row["key"]
    return key


def _values(selection: Selection) -> dict[str, object]:
    return {name: getattr(selection, name) for name in Selection.__slots__}
