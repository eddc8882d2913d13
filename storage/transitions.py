"""A step of orders that their workflow decides, such as submitted or refused: status and record, as one.

Called inside a transaction that has locked the orders.
"""

from collections.abc import Sequence
from typing import Any

from bus.order_updates import OrderUpdate
from domain.orders import OrderEvent, OrderStatus, PlacedOrder
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection, columns
from storage.locks import LockedOrder

_WRITE_STATUSES = """
    UPDATE orders o SET status = s.status::order_status, reject_code = s.code, reject_reason = s.reason,
        updated_at_ns = s.at
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[])
        AS s (order_id, status, code, reason, at)
    WHERE o.order_id = s.order_id
"""


def entry(
    placed: PlacedOrder,
    order: LockedOrder,
    event: OrderEvent,
    status: OrderStatus,
    now: int,
    **detail: Any,
) -> AuditEntry:
    """The record of a step by the order's owner."""
    return AuditEntry(
        occurred_at_ns=now,
        user_id=placed.user_id,
        event=event,
        actor=placed.owner,
        order_id=placed.order_id,
        status=status,
        detail=detail,
        traceparent=order.traceparent,
    )


async def write_statuses(conn: Connection, entries: Sequence[AuditEntry]) -> None:
    """The orders stand as these entries say."""
    rows = [
        (e.order_id, e.status, e.detail.get("reject_code"), e.detail.get("reject_reason"), e.occurred_at_ns)
        for e in entries
    ]
    await conn.execute(_WRITE_STATUSES, columns(rows))


async def write(conn: Connection, entries: Sequence[AuditEntry]) -> list[OrderUpdate]:
    """The orders stand as these entries say, and the entries are on record."""
    await write_statuses(conn, entries)
    return await audit.append(conn, sorted(entries, key=lambda one: one.user_id))
