"""A client's change of an order in the books: put right in the outbox, or asked of the exchange.

One transaction, keyed by the request's ClOrdID: a repeat finds what the first did. Locks: the user's stream,
the order, the ledger row. Under them the books are brought up to the journals first: the hold is then exactly
what the exchange may still fill, and only then is anything decided. The margin view is asked inside the locks
as well, so that a change which grows the hold is decided against everything that other orders have blocked; a
crash before the commit repeats the same step. What the exchange answers settles the hold
(storage/books/booking.py). Called by the order worker.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from psycopg.types.json import Jsonb

from bus.order_updates import OrderUpdate
from domain.changes import Change, envelope, settled
from domain.exchange_terms import ExchangeTerms
from domain.instructions import ReplaceOrder
from domain.margin import Block, BlockOutcome, Hold, position_key
from domain.money import rupees
from domain.orders import OrderEvent, OrderStatus, OrderTerms, OrderType, PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.trading_states import enlarges
from domain.validation import PRICED
from storage import audit
from storage.books import booking
from storage.books.booking import BookingResult
from storage.database import Connection
from storage.journals import outbox_rows
from storage.journals.outbox_rows import NewOutboxRow
from storage.locks import LockedOrder, lock_orders
from storage.margin import hold_changes
from storage.margin.accounts import PendingChange
from storage.margin.derivatives import DerivativeMargins
from storage.orders import self_trades
from storage.orders.cancellations import last_accepted
from storage.orders.submissions import SubmissionRequest
from storage.risk import risk_gate
from storage.transitions import entry

_STANDS = """
    SELECT o.changes, h.unit_margin, h.open_quantity, h.close_quantity,
           h.change_id IS NOT NULL OR EXISTS (
               SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND x.kind <> 'NEW'
               AND x.answered_at_ns IS NULL) AS pending,
           EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id
                   AND (x.cl_ord_id = %(cl_ord_id)s OR %(cl_ord_id)s = ANY(x.revisions))) AS repeated
    FROM orders o LEFT JOIN margin_holds h USING (order_id) WHERE o.order_id = %(order_id)s
"""
_UNSENT = """
    SELECT instruction FROM exchange_outbox
    WHERE order_id = %s AND kind = 'NEW' AND claimed_at_ns IS NULL AND withdrawn_at_ns IS NULL FOR UPDATE
"""
_COUNT = "UPDATE orders SET changes = changes + 1 WHERE order_id = %s"
_PUT_RIGHT = """
    UPDATE exchange_outbox SET instruction = instruction || %s, revisions = revisions || %s::text
    WHERE order_id = %s AND kind = 'NEW'
"""


@dataclass(frozen=True, slots=True)
class ChangeableOrder:
    """The order as a change finds it."""

    terms: OrderTerms
    filled: int
    """And what was taken back of it: no longer open either way."""
    hold: Hold
    changes: int
    unsent: bool
    """Still in the outbox: nobody but us knows of it."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Taken when there is neither a refusal nor staleness."""

    refusal: Refusal | None = None
    stale: bool = False
    """The margin view was rebuilt since: nothing was written, ask again."""
    told: OrderUpdate | None = None
    booked: BookingResult = field(default_factory=lambda: BookingResult({}))
    """What was booked on the way, to be followed up after the commit."""


Judge = Callable[[ChangeableOrder, OrderTerms], tuple[ExchangeTerms, int] | Refusal]
"""The gates: how the changed order goes on the wire and its unit margin, or why it may not."""


async def change(
    conn: Connection,
    portfolios: DerivativeMargins,
    placed: PlacedOrder,
    cl_ord_id: str,
    asked: Change,
    judge: Judge,
    intraday_percent: int,
) -> Changed:
    """Change the order, or say why not. The order's row is locked, so no report of it comes in between."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    booked = await booking.catch_up(conn, portfolios, [placed.user_id], intraday_percent)
    changed = await _change(conn, portfolios, placed, order, cl_ord_id, asked, judge)
    if changed.refusal is not None:
        await hold_changes.restore(conn, portfolios, placed)
    return replace(changed, booked=booked)


async def _change(
    conn: Connection,
    portfolios: DerivativeMargins,
    placed: PlacedOrder,
    order: LockedOrder,
    cl_ord_id: str,
    asked: Change,
    judge: Judge,
) -> Changed:
    stands = await _standing(conn, placed, order, cl_ord_id)
    if not isinstance(stands, ChangeableOrder):
        return stands
    terms = asked.applied_to(stands.terms)
    judged = judge(stands, terms)
    if isinstance(judged, Refusal):
        return Changed(judged)
    leaves, unit = judged
    grow = settled if stands.unsent else envelope
    to = grow(stands.hold, unit, terms.quantity, stands.filled)
    more = enlarges(stands.terms, terms)
    left = replace(placed, terms=replace(terms, quantity=terms.quantity - stands.filled))
    block = Block(BlockOutcome.BLOCKED, to.open_quantity, to.close_quantity, to.unit_margin, 0, 0)
    # A stop that was released is a limit order now.
    released = order.view.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
    works = replace(leaves, order_type=OrderType.LIMIT) if released else leaves
    if (stopped := await _stopped(conn, stands, SubmissionRequest(left, block, works), more)) is not None:
        return Changed(stopped)
    promised = await hold_changes.promise(conn, portfolios, placed, stands.hold, to, stands.filled)
    if not promised.is_kept:
        return Changed(promised.refusal, promised.stale)
    pending = None if stands.unsent else PendingChange(cl_ord_id, unit, stands.hold.unit_margin)
    await hold_changes.write(conn, placed, stands.hold, to, pending, leaves.margin_price)
    if promised.derivatives is not None:
        await promised.derivatives.write(conn)
    await conn.execute(_COUNT, (placed.order_id,))
    if stands.unsent:
        return Changed(told=await _put_right(conn, placed, cl_ord_id, order, terms, leaves))
    await _ask(conn, placed, cl_ord_id, terms, leaves, more)
    return Changed()


async def _stopped(
    conn: Connection, stands: ChangeableOrder, asked: SubmissionRequest, enlarging: bool
) -> Refusal | None:
    """Why the desk stops the change, or the client's own orders; one that enlarges is judged as a new order
    of what is left, beside what has been filled."""
    gate = await risk_gate.read(conn, [asked])
    refusal = next(gate.refusals(asked), None) if enlarging else gate.halted(asked.placed)
    if refusal is not None and refusal.field == "quantity" and refusal.nearest is not None:
        return replace(refusal, nearest=str(int(refusal.nearest) + stands.filled))
    terms = asked.placed.terms
    if refusal or (terms.price, terms.trigger_price) == (stands.terms.price, stands.terms.trigger_price):
        return refusal
    return (await self_trades.read(conn, [asked])).refusal(asked)


async def _standing(
    conn: Connection, placed: PlacedOrder, order: LockedOrder, cl_ord_id: str
) -> ChangeableOrder | Changed:
    found = await conn.execute(_STANDS, {"order_id": placed.order_id, "cl_ord_id": cl_ord_id})
    unsent = await conn.execute(_UNSENT, (placed.order_id,))
    row = await found.fetchone()
    assert row is not None
    if row["repeated"]:
        return Changed()
    if order.view.status.is_final or row["unit_margin"] is None:
        return Changed(Refusal(RejectCode.ORDER_ALREADY_FINAL))
    if row["pending"]:
        return Changed(Refusal(RejectCode.CHANGE_ALREADY_PENDING))
    terms, seen = placed.terms, order.view
    price = seen.price if terms.order_type in PRICED else None
    terms = replace(terms, quantity=seen.quantity, price=price, trigger_price=seen.trigger_price)
    position, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
    sizes = (row["unit_margin"], row["open_quantity"], row["close_quantity"])
    hold = Hold(terms.side, position, nets, *sizes)
    traded = seen.filled_quantity + seen.taken_back
    return ChangeableOrder(terms, traded, hold, row["changes"], await unsent.fetchone() is not None)


async def _put_right(
    conn: Connection,
    placed: PlacedOrder,
    cl_ord_id: str,
    order: LockedOrder,
    terms: OrderTerms,
    leaves: ExchangeTerms,
) -> OrderUpdate:
    """The exchange has not heard of the order: what it will hear is the changed one."""
    now = time.time_ns()
    said = {"quantity": terms.quantity, "price": leaves.price, "trigger_price": terms.trigger_price}
    await conn.execute(_PUT_RIGHT, (Jsonb(said), cl_ord_id, placed.order_id))
    await conn.execute(
        """UPDATE orders SET quantity = %s, price = %s, trigger_price = %s, updated_at_ns = %s
           WHERE order_id = %s""",
        (terms.quantity, terms.price, terms.trigger_price, now, placed.order_id),
    )
    shown = {"quantity": terms.quantity}
    amounts = {"price": terms.price, "trigger_price": terms.trigger_price}
    shown |= {name: rupees(amount) for name, amount in amounts.items() if amount is not None}  # type: ignore[misc]
    (told,) = await audit.append(
        conn, [entry(placed, order, OrderEvent.CHANGED, order.view.status, now, **shown)]
    )
    return told


async def _ask(
    conn: Connection,
    placed: PlacedOrder,
    cl_ord_id: str,
    terms: OrderTerms,
    leaves: ExchangeTerms,
    enlarging: bool,
) -> None:
    now = time.time_ns()
    request = ReplaceOrder(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=await last_accepted(conn, placed.order_id),
        symbol=terms.symbol,
        side=terms.side,
        quantity=terms.quantity,
        order_type=leaves.order_type,
        validity=terms.validity,
        price=leaves.price,
        trigger_price=terms.trigger_price,
        transact_time_ns=now,
    )
    await outbox_rows.enqueue(conn, [NewOutboxRow(placed, "REPLACE", request, enlarges=enlarging)], now)
