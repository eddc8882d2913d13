"""A sliced order as its owner reads it: one order, made of what its slices stand at. Bound to one user."""

from typing import Any

from psycopg.rows import DictRow

from domain.orders import OrderStatus
from domain.slicing import whole_status
from storage.database import Database
from storage.orders import queries

_PARENT = """
    SELECT order_id, quantity, tag, created_at_ns FROM sliced_orders
    WHERE user_id = %(user_id)s AND order_id = %(order_id)s
"""


async def find_whole(database: Database, user_id: int, order_id: int) -> dict[str, Any] | None:
    """A row as of an order, and `children`, the slices' rows in order; None: it is no sliced order of his."""
    async with database.reading() as conn:
        found = await conn.execute(_PARENT, {"user_id": user_id, "order_id": order_id})
        parent = await found.fetchone()
    if parent is None:
        return None
    return _whole(parent, await queries.slices_of(database, user_id, order_id))


def _whole(parent: DictRow, children: list[DictRow]) -> dict[str, Any]:
    """What the slices have in common, the sums of what they have not, and the first refusal."""
    filled = sum(row["filled_quantity"] for row in children)
    refused = next((row for row in children if row["reject_code"] is not None), children[0])
    return {
        **children[0],
        **parent,
        "parent_id": None,
        "exchange_order_id": None,
        "status": whole_status([OrderStatus(row["status"]) for row in children], filled),
        "quantity": sum(row["quantity"] for row in children),
        "filled_quantity": filled,
        "filled_value": sum(row["filled_value"] for row in children),
        "reject_code": refused["reject_code"],
        "reject_reason": refused["reject_reason"],
        "updated_at_ns": max(row["updated_at_ns"] for row in children),
        "children": children,
    }
