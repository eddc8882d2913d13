"""Taking an order back: withdrawn before it left, or asked of the exchange, which decides the race.

One transaction, keyed by the order. Locks: the user's stream, the order. Called by the order worker for the
client's cancel.
"""

import time

from domain.instructions import CancelOrder
from domain.orders import OrderEvent, PlacedOrder, next_status
from domain.rejects import Refusal, RejectCode
from storage import audit, outbox
from storage.audit import OrderUpdate
from storage.database import Connection
from storage.order_locks import LockedOrder, lock_orders
from storage.submissions import Submission, entry


async def cancel(conn: Connection, placed: PlacedOrder) -> Submission:
    """Withdraw an order that has not left, or owe the exchange a cancel request."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    if order.view.status.is_final:
        return Submission(Refusal(RejectCode.ORDER_ALREADY_FINAL))
    now = time.time_ns()
    withdrawn = await conn.execute(
        """UPDATE exchange_outbox SET withdrawn_at_ns = %s
           WHERE order_id = %s AND kind = 'NEW' AND claimed_at_ns IS NULL AND withdrawn_at_ns IS NULL
           RETURNING seq""",
        (now, placed.order_id),
    )
    if await withdrawn.fetchone() is not None:
        return Submission(told=await _withdraw(conn, placed, order, now))
    asked = await conn.execute(
        """SELECT count(*) AS n, count(*) FILTER (WHERE answered_at_ns IS NULL AND kind = 'CANCEL') AS pending
           FROM exchange_outbox WHERE order_id = %s AND kind <> 'NEW'""",
        (placed.order_id,),
    )
    requests = await asked.fetchone()
    assert requests is not None
    if requests["pending"]:
        return Submission(Refusal(RejectCode.CANCEL_ALREADY_PENDING))
    request = _cancel_of(placed, requests["n"] + 1, now)
    await outbox.owe(conn, [outbox.Owing(placed, "CANCEL", request)], now)
    return Submission()


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


def _cancel_of(placed: PlacedOrder, number: int, now: int) -> CancelOrder:
    return CancelOrder(
        cl_ord_id=f"{placed.order_id}-{number}",
        orig_cl_ord_id=str(placed.order_id),
        symbol=placed.terms.symbol,
        side=placed.terms.side,
        quantity=placed.terms.quantity,
        transact_time_ns=now,
    )
