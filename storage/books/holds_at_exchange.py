"""Holds against what the exchange may fill, by the journals alone.

Submit, change and booking write hold and journal in one transaction, so that a single statement sees them
agree. Left out is what is known to be under way: orders with a report that is not booked (for its age see
storage/journals/report_ages.py) and, for SETTLED_WITHIN_NS, what was withdrawn or has ended and is not given
back yet. Called by the reconciliation.
"""

from dataclasses import dataclass

import msgspec
from psycopg.rows import class_row

from domain.events import AlertKind
from domain.hold_check import OrderAtExchange, hold_fault
from domain.time import NANOS
from storage.database import Database
from storage.journals.report_ages import UNBOOKED
from storage.risk.risk_alerts import Finding

SETTLED_WITHIN_NS = 5 * NANOS

# `terms`: the last request that the exchange has accepted, or the order itself while it has said nothing.
# `change`: requests that it has not answered; there is one at most, but the dearest of several would count.
_ORDERS = f"""
    WITH live AS (
        SELECT order_id FROM margin_holds WHERE state = 'BLOCKED'
        UNION SELECT order_id FROM orders
        WHERE status IN ('PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING', 'PARTIALLY_FILLED')
    )
    SELECT o.order_id, o.user_id, n.kind, o.product, o.transaction_type AS side, o.order_type,
           CASE WHEN o.status IN ('EXECUTED', 'SETTLED', 'CANCELLED', 'REJECTED', 'EXPIRED') THEN 0
                ELSE COALESCE(word.leaves, terms.quantity, 0) END AS open_quantity,
           terms.price, change.quantity - o.filled_quantity - o.taken_back_quantity AS changed_quantity,
           change.price AS changed_price,
           COALESCE(h.open_quantity + h.close_quantity, 0) AS held, COALESCE(h.unit_margin, 0) AS unit,
           COALESCE(h.margin_price, n.upper_band) AS dearest
    FROM live JOIN orders o USING (order_id) JOIN instruments n USING (instrument_id)
    LEFT JOIN margin_holds h ON h.order_id = o.order_id AND h.state = 'BLOCKED'
    LEFT JOIN LATERAL (
        SELECT (report->>'leaves_quantity')::int AS leaves FROM exchange_inbox i
        WHERE i.order_id = o.order_id AND broken IS NULL AND report->>'kind' = 'execution'
        ORDER BY seq DESC LIMIT 1
    ) word ON true
    LEFT JOIN LATERAL (
        SELECT (instruction->>'quantity')::int AS quantity, (instruction->>'price')::bigint AS price
        FROM exchange_outbox x
        WHERE x.order_id = o.order_id AND withdrawn_at_ns IS NULL
          AND (kind = 'NEW' OR (kind = 'REPLACE' AND EXISTS (
               SELECT FROM exchange_inbox i WHERE i.order_id = o.order_id AND broken IS NULL
                 AND i.report->>'exec_type' = '5' AND i.report->>'cl_ord_id' = x.cl_ord_id)))
        ORDER BY seq DESC LIMIT 1
    ) terms ON true
    LEFT JOIN LATERAL (
        SELECT max((instruction->>'quantity')::int) AS quantity, max((instruction->>'price')::bigint) AS price
        FROM exchange_outbox x
        WHERE x.order_id = o.order_id AND kind = 'REPLACE' AND answered_at_ns IS NULL
          AND withdrawn_at_ns IS NULL
    ) change ON true
    WHERE NOT EXISTS (SELECT FROM exchange_inbox i WHERE i.order_id = o.order_id AND {UNBOOKED})
      AND NOT EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND answered_at_ns IS NULL
                      AND x.withdrawn_at_ns > %(recent)s)
      AND NOT (o.status IN ('EXECUTED', 'SETTLED', 'CANCELLED', 'REJECTED', 'EXPIRED')
               AND o.updated_at_ns > %(recent)s)
"""
_OVER_CLOSED = """
    SELECT h.user_id, h.instrument_id, h.transaction_type AS side, sum(h.close_quantity)::int AS closing,
           COALESCE(max(p.buy_quantity - p.sell_quantity), 0) AS held
    FROM margin_holds h LEFT JOIN positions p USING (user_id, instrument_id, product)
    WHERE state = 'BLOCKED' AND product <> 'CNC' AND close_quantity > 0
    GROUP BY h.user_id, h.instrument_id, product, h.transaction_type
    HAVING sum(h.close_quantity) > GREATEST(0, COALESCE(max(p.buy_quantity - p.sell_quantity), 0)
                                            * CASE h.transaction_type WHEN 'SELL' THEN 1 ELSE -1 END)
"""


@dataclass(frozen=True, slots=True)
class OverClosed:
    """Orders that hold no margin because they close a position, and there is less of it to close."""

    user_id: int
    instrument_id: str
    side: str
    closing: int
    held: int

    @property
    def sentence(self) -> str:
        orders = f"Orders to {self.side.lower()} {self.closing} of {self.instrument_id} hold no margin"
        return f"{orders}: they are to close a position of {self.held}."


async def faults(database: Database, intraday_percent: int, now_ns: int) -> set[Finding]:
    """What one look finds; what stays over several is wrong."""
    async with database.reading() as conn:
        found = await conn.execute(_ORDERS.encode(), {"recent": now_ns - SETTLED_WITHIN_NS})
        orders = [msgspec.convert(row, OrderAtExchange) for row in await found.fetchall()]
    async with database.reading() as conn, conn.cursor(row_factory=class_row(OverClosed)) as cursor:
        closing = await (await cursor.execute(_OVER_CLOSED)).fetchall()
    checked = ((order.user_id, hold_fault(order, intraday_percent)) for order in orders)
    wrong = {
        Finding(AlertKind.HOLD_WRONG, user_id, sentence)
        for user_id, sentence in checked
        if sentence is not None
    }
    return wrong | {Finding(AlertKind.HOLD_WRONG, one.user_id, one.sentence) for one in closing}
