"""An order that one of our own gates refuses: it ends REJECTED, and lets its user's later orders pass.

Called by the order worker, a group in one transaction.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bus.order_updates import OrderUpdate
from domain.orders import OrderEvent, OrderStatus, PlacedOrder, next_status
from storage import transitions
from storage.database import Connection
from storage.locks import LockedOrder, lock_orders
from storage.transitions import entry

_SUBMITTED = "SELECT order_id FROM exchange_outbox WHERE order_id = ANY(%s) AND kind = 'NEW'"
_PASS_GATE = "UPDATE order_intake SET gate_passed_at_ns = %s WHERE order_id = ANY(%s)"


class RefusedOrder(NamedTuple):
    placed: PlacedOrder
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefusalAnswer:
    """`stands` is False when an earlier run had submitted the order: it is the exchange's now."""

    stands: bool
    status: OrderStatus
    """REJECTED, or what had become of the order before: a cancel may have come first."""
    told: OrderUpdate | None = None


async def refuse(conn: Connection, refused: Sequence[RefusedOrder]) -> list[RefusalAnswer]:
    """The orders end REJECTED and let their users' later orders pass. A repeat changes nothing."""
    orders = await lock_orders(conn, [one.placed.order_id for one in refused])
    pending = OrderStatus.PENDING_VALIDATION
    due = {r.placed.order_id: r for r in refused if orders[r.placed.order_id].view.status is pending}
    ids = [one.placed.order_id for one in refused]
    found = await conn.execute(_SUBMITTED, (ids,))
    submitted = {row["order_id"] for row in await found.fetchall()}
    told = await _write_refusals(conn, due, orders) if due else {}
    stands = {i: OrderStatus.REJECTED if i in due else orders[i].view.status for i in ids}
    return [RefusalAnswer(i not in submitted, stands[i], told.get(i)) for i in ids]


async def _write_refusals(
    conn: Connection, due: dict[int, RefusedOrder], orders: dict[int, LockedOrder]
) -> dict[int, OrderUpdate]:
    pending = OrderStatus.PENDING_VALIDATION
    now, status = time.time_ns(), next_status(pending, OrderEvent.REFUSED)
    await conn.execute(_PASS_GATE, (now, list(due)))
    entries = [
        entry(
            r.placed, orders[i], OrderEvent.REFUSED, status, now, reject_code=r.code, reject_reason=r.reason
        )
        for i, r in due.items()
    ]
    return {int(update.body["order_id"]): update for update in await transitions.write(conn, entries)}
