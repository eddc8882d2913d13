"""The last step before the exchange: promise the margin and owe the order, refuse it, or take it back.

Each is one transaction, keyed by the order: a repeat finds what the first did. Locks: the user's stream,
the order, then the ledger row. The outbox row is what the gateway sends; nothing here talks to the exchange.
"""

import time
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from domain.instructions import CancelOrder, NewOrder
from domain.margin import Block
from domain.money import rupees
from domain.orders import OrderEvent, OrderStatus, PlacedOrder, Product, Side, next_status
from domain.rejects import Refusal, RejectCode
from storage import audit, outbox
from storage.audit import AuditEntry, OrderUpdate
from storage.database import Connection
from storage.order_locks import LockedOrder, lock_orders


@dataclass(frozen=True, slots=True)
class Submission:
    """Submitted when there is neither a refusal nor staleness."""

    refusal: Refusal | None = None
    stale: bool = False
    """The block is of a view that was rebuilt since: nothing was written, block again."""
    told: tuple[OrderUpdate, ...] = ()


async def submit(conn: Connection, placed: PlacedOrder, block: Block) -> Submission:
    """Write hold, status, instruction and record. A repeat after success changes nothing."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    if order.view.status is not OrderStatus.PENDING_VALIDATION:
        return await _first_answer(conn, order)
    found = await conn.execute(
        "SELECT generation, available_cash FROM margin_ledger WHERE user_id = %s FOR UPDATE",
        (placed.user_id,),
    )
    ledger = await found.fetchone()
    if ledger is None:
        return Submission(Refusal(RejectCode.ACCOUNT_UNKNOWN))
    if ledger["generation"] != block.generation:
        return Submission(stale=True)
    if block.required > max(ledger["available_cash"], 0):
        limit = rupees(ledger["available_cash"])
        return Submission(Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", limit))
    if not await _promise_shares(conn, placed):
        return Submission(Refusal(RejectCode.HOLDINGS_INSUFFICIENT, "quantity"))
    await _promise_margin(conn, placed, block)
    now = time.time_ns()
    await _owe(conn, placed, await _new_order(conn, placed, now), "NEW", now)
    status = next_status(order.view.status, OrderEvent.SUBMITTED)
    await conn.execute(
        "UPDATE orders SET status = %s, updated_at_ns = %s WHERE order_id = %s",
        (status, now, placed.order_id),
    )
    detail = {"blocked_margin": rupees(block.required)}
    told = await audit.append(conn, [_entry(placed, order, OrderEvent.SUBMITTED, status, detail, now)])
    return Submission(told=tuple(told))


async def _first_answer(conn: Connection, order: LockedOrder) -> Submission:
    """What an earlier run decided: without a hold, one of our own gates has refused the order."""
    held = await conn.execute("SELECT 1 FROM margin_holds WHERE order_id = %s", (order.order_id,))
    if await held.fetchone() is not None or order.view.reject_code is None:
        return Submission()
    return Submission(Refusal(RejectCode(order.view.reject_code)))


async def refuse(conn: Connection, placed: PlacedOrder, code: str, reason: str) -> list[OrderUpdate]:
    """The order ends REJECTED and lets the user's later orders pass. A repeat changes nothing."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    if order.view.status is not OrderStatus.PENDING_VALIDATION:
        return []
    now = time.time_ns()
    status = next_status(order.view.status, OrderEvent.REFUSED)
    await conn.execute(
        """UPDATE orders SET status = %s, reject_code = %s, reject_reason = %s, updated_at_ns = %s
           WHERE order_id = %s""",
        (status, code, reason, now, placed.order_id),
    )
    await conn.execute(
        "UPDATE order_intake SET gate_passed_at_ns = %s WHERE order_id = %s", (now, placed.order_id)
    )
    detail = {"reject_code": code, "reject_reason": reason}
    return await audit.append(conn, [_entry(placed, order, OrderEvent.REFUSED, status, detail, now)])


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
        return Submission(told=tuple(await _withdraw(conn, placed, order, now)))
    asked = await conn.execute(
        """SELECT count(*) AS n, count(*) FILTER (WHERE answered_at_ns IS NULL AND kind = 'CANCEL') AS pending
           FROM exchange_outbox WHERE order_id = %s AND kind <> 'NEW'""",
        (placed.order_id,),
    )
    requests = await asked.fetchone()
    assert requests is not None
    if requests["pending"]:
        return Submission(Refusal(RejectCode.CANCEL_ALREADY_PENDING))
    await _owe(conn, placed, _cancel_of(placed, requests["n"] + 1, now), "CANCEL", now)
    return Submission()


async def _withdraw(conn: Connection, placed: PlacedOrder, order: LockedOrder, now: int) -> list[OrderUpdate]:
    status = next_status(order.view.status, OrderEvent.WITHDRAWN)
    await conn.execute(
        "UPDATE orders SET status = %s, updated_at_ns = %s WHERE order_id = %s",
        (status, now, placed.order_id),
    )
    await conn.execute(
        "UPDATE order_intake SET gate_passed_at_ns = %s WHERE order_id = %s", (now, placed.order_id)
    )
    return await audit.append(conn, [_entry(placed, order, OrderEvent.WITHDRAWN, status, {}, now)])


async def _promise_shares(conn: Connection, placed: PlacedOrder) -> bool:
    """A delivery sale needs shares that no other order has been promised."""
    terms = placed.terms
    if terms.product is not Product.CNC or terms.side is not Side.SELL:
        return True
    promised = await conn.execute(
        """UPDATE holdings SET blocked_quantity = blocked_quantity + %(quantity)s
           WHERE user_id = %(user_id)s AND instrument_id = %(instrument_id)s
             AND quantity - blocked_quantity >= %(quantity)s RETURNING quantity""",
        {
            "quantity": terms.quantity,
            "user_id": placed.user_id,
            "instrument_id": terms.instrument_id,
        },
    )
    return await promised.fetchone() is not None


async def _promise_margin(conn: Connection, placed: PlacedOrder, block: Block) -> None:
    terms = placed.terms
    await conn.execute(
        """INSERT INTO margin_holds (order_id, user_id, instrument_id, product, transaction_type, unit_margin,
                                     open_quantity, close_quantity)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            placed.order_id,
            placed.user_id,
            terms.instrument_id,
            terms.product,
            terms.side,
            block.unit_margin,
            block.open_quantity,
            block.close_quantity,
        ),
    )
    await conn.execute(
        """UPDATE margin_ledger SET blocked_margin = blocked_margin + %s, updated_at_ns = %s
           WHERE user_id = %s""",
        (block.required, time.time_ns(), placed.user_id),
    )


async def _new_order(conn: Connection, placed: PlacedOrder, now: int) -> NewOrder:
    terms = placed.terms
    found = await conn.execute("SELECT client_id FROM users WHERE user_id = %s", (placed.user_id,))
    user = await found.fetchone()
    assert user is not None
    return NewOrder(
        cl_ord_id=str(placed.order_id),
        client_code=user["client_id"],
        symbol=_listing(placed)[1],
        side=terms.side,
        quantity=terms.quantity,
        order_type=terms.order_type,
        validity=terms.validity,
        price=terms.price,
        trigger_price=terms.trigger_price,
        transact_time_ns=now,
    )


def _cancel_of(placed: PlacedOrder, number: int, now: int) -> CancelOrder:
    return CancelOrder(
        cl_ord_id=f"{placed.order_id}-{number}",
        orig_cl_ord_id=str(placed.order_id),
        symbol=_listing(placed)[1],
        side=placed.terms.side,
        quantity=placed.terms.quantity,
        transact_time_ns=now,
    )


def _listing(placed: PlacedOrder) -> tuple[str, str]:
    exchange, _, symbol = placed.terms.instrument_id.partition(":")
    return exchange, symbol


async def _owe(
    conn: Connection, placed: PlacedOrder, instruction: NewOrder | CancelOrder, kind: str, now: int
) -> None:
    await conn.execute(
        """INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq, instruction,
                                        traceparent, created_at_ns)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            _listing(placed)[0],
            kind,
            instruction.cl_ord_id,
            placed.order_id,
            placed.user_id,
            placed.intake_seq,
            Jsonb(outbox.document(instruction)),
            placed.traceparent,
            now,
        ),
    )


def _entry(
    placed: PlacedOrder,
    order: LockedOrder,
    event: OrderEvent,
    status: OrderStatus,
    detail: dict[str, Any],
    now: int,
) -> AuditEntry:
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
