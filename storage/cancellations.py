"""Taking an order back: withdrawn before it left, or asked of the exchange, which decides the race.

One transaction, keyed by the request's ClOrdID. Locks: the user's stream, the order. Called by the order
worker for the client's cancel.
"""

import time
from dataclasses import dataclass

from domain.instructions import CancelOrder
from domain.orders import OrderEvent, PlacedOrder, next_status
from domain.rejects import Refusal, RejectCode
from storage import audit, instructions
from storage.audit import OrderUpdate
from storage.database import Connection
from storage.instructions import Owing
from storage.order_locks import LockedOrder, lock_orders
from storage.order_steps import entry

_WITHDRAW = """
    UPDATE exchange_outbox SET withdrawn_at_ns = %s
    WHERE order_id = %s AND kind = 'NEW' AND claimed_at_ns IS NULL AND withdrawn_at_ns IS NULL RETURNING seq
"""
_ASKED = """
    SELECT bool_or(cl_ord_id = %(cl_ord_id)s) AS repeated,
           bool_or(kind = 'CANCEL' AND answered_at_ns IS NULL) AS pending
    FROM exchange_outbox WHERE order_id = %(order_id)s
"""
_LAST_ACCEPTED = """
    SELECT report->>'cl_ord_id' AS cl_ord_id FROM exchange_inbox
    WHERE order_id = %s AND broken IS NULL AND report->>'kind' = 'execution' AND report->>'exec_type' = '5'
    ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Asked of the exchange when there is neither a refusal nor an update."""

    refusal: Refusal | None = None
    told: OrderUpdate | None = None
    """The order was withdrawn before it left."""


async def cancel(conn: Connection, placed: PlacedOrder, cl_ord_id: str) -> Cancellation:
    """Withdraw an order that has not left, or owe the exchange a cancel request; a repeat changes nothing."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    asked = await conn.execute(_ASKED, {"cl_ord_id": cl_ord_id, "order_id": placed.order_id})
    requests = await asked.fetchone()
    assert requests is not None
    if requests["repeated"]:
        return Cancellation()
    if order.view.status.is_final:
        return Cancellation(Refusal(RejectCode.ORDER_ALREADY_FINAL))
    now = time.time_ns()
    withdrawn = await conn.execute(_WITHDRAW, (now, placed.order_id))
    if await withdrawn.fetchone() is not None:
        return Cancellation(told=await _withdraw(conn, placed, order, now))
    if requests["pending"]:
        return Cancellation(Refusal(RejectCode.CANCEL_ALREADY_PENDING))
    request = CancelOrder(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=await last_accepted(conn, placed.order_id),
        symbol=placed.terms.symbol,
        side=placed.terms.side,
        quantity=order.view.quantity,
        transact_time_ns=now,
    )
    await instructions.owe(conn, [Owing(placed, "CANCEL", request)], now)
    return Cancellation()


async def last_accepted(conn: Connection, order_id: int) -> str:
    """The ClOrdID under which the exchange knows the order: of its last accepted change, or its own."""
    found = await (await conn.execute(_LAST_ACCEPTED, (order_id,))).fetchone()
    return str(found["cl_ord_id"]) if found else str(order_id)


async def _withdraw(conn: Connection, placed: PlacedOrder, order: LockedOrder, now: int) -> OrderUpdate:
    status = next_status(order.view.status, OrderEvent.WITHDRAWN)
    await conn.execute(
        "UPDATE orders SET status = %s, updated_at_ns = %s WHERE order_id = %s",
        (status, now, placed.order_id),
    )
    await conn.execute(
        "UPDATE order_intake SET gate_passed_at_ns = %s WHERE order_id = %s", (now, placed.order_id)
    )
    (told,) = await audit.append(conn, [entry(placed, order, OrderEvent.WITHDRAWN, status, now)])
    return told
