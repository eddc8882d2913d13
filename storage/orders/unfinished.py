"""Orders whose story has something left to do: not final, or final with margin that was not given back.

The journals know them whatever Temporal remembers; workers/story_sweep.py looks whether each has a running
story. Only orders that were handed to Temporal count: the others wait in the intake. The indexes asked are
those of what lives, so that the days behind cost nothing.
"""

from collections.abc import Sequence

from domain.orders import PlacedOrder
from storage.database import Database
from storage.journals import placed_orders
from storage.journals.placed_orders import placed_order

_UNFINISHED = """(o.status IN ('PENDING_VALIDATION', 'PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING',
                               'PARTIALLY_FILLED')
                  OR EXISTS (SELECT FROM margin_holds h
                             WHERE h.order_id = o.order_id AND state = 'BLOCKED'))"""
_CANDIDATES = f"""
    SELECT order_id FROM (
        SELECT order_id FROM margin_holds WHERE state = 'BLOCKED' AND order_id > %(after)s
        UNION SELECT order_id FROM order_intake WHERE gate_passed_at_ns IS NULL AND order_id > %(after)s
    ) living JOIN order_intake USING (order_id) JOIN orders o USING (order_id)
    WHERE started_at_ns < %(before)s AND {_UNFINISHED} ORDER BY order_id LIMIT %(most)s
"""
_READ = f"""
    SELECT {placed_orders.COLUMNS} FROM orders JOIN order_intake USING (order_id)
    WHERE order_id IN (SELECT order_id FROM orders o WHERE order_id = ANY(%s) AND {_UNFINISHED})
      AND started_at_ns IS NOT NULL
"""
_WAITS = "SELECT FROM order_intake WHERE order_id = %s AND started_at_ns IS NULL"


async def candidates(database: Database, after: int, started_before_ns: int, most: int) -> list[int]:
    """Ids above `after` of unfinished orders that were started before an instant, ascending."""
    values = {"after": after, "before": started_before_ns, "most": most}
    async with database.reading() as conn:
        rows = await (await conn.execute(_CANDIDATES.encode(), values)).fetchall()
    return [row["order_id"] for row in rows]


async def read(database: Database, order_ids: Sequence[int]) -> list[PlacedOrder]:
    """Those of the orders that are unfinished, as their stories begin again."""
    async with database.reading() as conn:
        rows = await (await conn.execute(_READ.encode(), (list(order_ids),))).fetchall()
    return [placed_order(row) for row in rows]


async def waits_in_intake(database: Database, order_id: int) -> bool:
    """Its story has not begun: an order worker will start it."""
    async with database.reading() as conn:
        return await (await conn.execute(_WAITS, (order_id,))).fetchone() is not None
