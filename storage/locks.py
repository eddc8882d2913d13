"""The one order in which a transaction locks what a report touches: users' streams, then their orders.

Everyone who writes the record of several orders takes these locks first, ascending, so that no two
transactions can wait for each other. Called inside the caller's transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from domain.execution import ExchangeView, Trade
from domain.orders import OrderStatus
from storage.database import Connection

_LOCK_USERS = """
    SELECT user_id FROM update_sequences
    WHERE user_id IN (SELECT user_id FROM orders WHERE order_id = ANY(%s::bigint[]))
    ORDER BY user_id FOR UPDATE
"""
_LOCK_ORDERS = """
    SELECT order_id, user_id, owner, traceparent, status, quantity, price, trigger_price, filled_quantity,
           filled_value, taken_back_quantity, exchange_order_id, reject_code, reject_reason,
           validity = 'IOC' OR order_type = 'MARKET' AS immediate,
           EXISTS (SELECT FROM exchange_inbox i
                   WHERE i.order_id = o.order_id AND broken IS NOT NULL) AS has_breaks
    FROM orders o WHERE order_id = ANY(%s::bigint[]) ORDER BY order_id FOR UPDATE
"""


@dataclass(slots=True)
class LockedOrder:
    """An order whose row is locked; `view` moves on as reports of the batch are applied."""

    order_id: int
    user_id: int
    owner: str | None
    traceparent: str
    view: ExchangeView
    has_breaks: bool
    """Reports that did not fit when they came."""
    trades: dict[str, Trade] = field(default_factory=dict)
    """What has traded and stands, by ExecID; read when a bust or correction asks for it."""


async def lock_orders(conn: Connection, order_ids: Iterable[int]) -> dict[int, LockedOrder]:
    """Lock the orders that exist among the ids, and their users' streams before them."""
    ids = sorted(set(order_ids))
    if not ids:
        return {}
    await conn.execute(_LOCK_USERS, (ids,))
    cursor = await conn.execute(_LOCK_ORDERS, (ids,))
    locked = {}
    for row in await cursor.fetchall():
        view = ExchangeView(
            status=OrderStatus(row["status"]),
            quantity=row["quantity"],
            price=row["price"],
            trigger_price=row["trigger_price"],
            filled_quantity=row["filled_quantity"],
            filled_value=row["filled_value"],
            taken_back=row["taken_back_quantity"],
            exchange_order_id=row["exchange_order_id"],
            reject_code=row["reject_code"],
            reject_reason=row["reject_reason"],
            immediate=row["immediate"],
        )
        names = (row["order_id"], row["user_id"], row["owner"], row["traceparent"])
        order = LockedOrder(*names, view, row["has_breaks"])
        locked[order.order_id] = order
    return locked
