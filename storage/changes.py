"""A client's change of an order in the books: put right in the outbox, or asked of the exchange.

One transaction, keyed by the request's ClOrdID: a repeat finds what the first did. Locks: the user's stream,
the order, the ledger row. Under them the books are brought up to the journals first: the hold is then exactly
what the exchange may still fill, and only then is anything decided. The margin view is asked inside the locks
as well, so that a change which grows the hold is decided against everything that other orders have blocked; a
crash before the commit repeats the same step. What the exchange answers settles the hold (storage/books.py).
Called by the order worker.
"""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from psycopg.types.json import Jsonb

from domain.changes import Change, envelope, settled
from domain.departure import Departure
from domain.instructions import ReplaceOrder
from domain.margin import Block, BlockOutcome, Hold, ResizeOutcome, position_key
from domain.money import rupees
from domain.orders import OrderTerms, PlacedOrder, Product, Side
from domain.rejects import Refusal, RejectCode
from domain.trading_states import enlarges
from domain.validation import PRICED
from storage import audit, books, instructions, risk_gate
from storage.audit import OrderUpdate
from storage.book_reads import PendingChange
from storage.books import Booked
from storage.cancellations import last_accepted
from storage.database import Connection
from storage.instructions import Owing
from storage.margin_book import ResizeStep
from storage.order_locks import LockedOrder, lock_orders
from storage.order_steps import entry
from storage.portfolios import LockedPortfolios, Portfolios
from storage.submissions import Asked

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
_LEDGER = "SELECT generation, available_cash FROM margin_ledger WHERE user_id = %s"
_FREE_SHARES = """
    SELECT quantity - blocked_quantity AS free FROM holdings WHERE user_id = %s AND instrument_id = %s
"""
_WRITE_SHARES = """
    UPDATE holdings SET blocked_quantity = blocked_quantity + %s WHERE user_id = %s AND instrument_id = %s
"""
_HOLD = """
    UPDATE margin_holds SET unit_margin = %(unit)s, open_quantity = %(open)s, close_quantity = %(close)s,
        change_id = %(change_id)s, changed_unit = %(changed)s, kept_unit = %(kept)s,
        margin_price = GREATEST(margin_price, %(price)s)
    WHERE order_id = %(order_id)s
"""
_PUT_RIGHT = """
    UPDATE exchange_outbox SET instruction = instruction || %s, revisions = revisions || %s::text
    WHERE order_id = %s AND kind = 'NEW'
"""


@dataclass(frozen=True, slots=True)
class Standing:
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
    booked: Booked = field(default_factory=lambda: Booked({}))
    """What was booked on the way, to be followed up after the commit."""


Judge = Callable[[Standing, OrderTerms], tuple[Departure, int] | Refusal]
"""The gates: how the changed order goes on the wire and its unit margin, or why it may not."""


async def change(
    conn: Connection,
    portfolios: Portfolios,
    placed: PlacedOrder,
    cl_ord_id: str,
    asked: Change,
    judge: Judge,
    intraday_percent: int,
) -> Changed:
    """Change the order, or say why not. The order's row is locked, so no report of it comes in between."""
    order = (await lock_orders(conn, [placed.order_id]))[placed.order_id]
    booked = await books.catch_up(conn, portfolios, [placed.user_id], intraday_percent)
    changed = await _change(conn, portfolios, placed, order, cl_ord_id, asked, judge)
    return replace(changed, booked=booked)


async def _change(
    conn: Connection,
    portfolios: Portfolios,
    placed: PlacedOrder,
    order: LockedOrder,
    cl_ord_id: str,
    asked: Change,
    judge: Judge,
) -> Changed:
    stands = await _standing(conn, placed, order, cl_ord_id)
    if not isinstance(stands, Standing):
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
    if (stopped := await _stopped(conn, left, to, leaves, more)) is not None:
        return Changed(stopped)
    ledger = await _ledger(conn, placed)
    promised = await _promise(conn, portfolios, placed, stands.hold, to, ledger)
    if isinstance(promised, Changed):
        return promised
    pending = None if stands.unsent else PendingChange(cl_ord_id, unit, stands.hold.unit_margin)
    await _write_hold(conn, placed, stands.hold, to, pending, leaves.margin_price)
    await promised.write(conn)
    if stands.unsent:
        return Changed(told=await _put_right(conn, placed, cl_ord_id, order, terms, leaves))
    await _ask(conn, placed, cl_ord_id, terms, leaves, more)
    return Changed()


async def _ledger(conn: Connection, placed: PlacedOrder) -> dict[str, Any]:
    ledger = await (await conn.execute(_LEDGER, (placed.user_id,))).fetchone()
    assert ledger is not None
    return ledger


async def _stopped(
    conn: Connection, left: PlacedOrder, to: Hold, leaves: Departure, enlarging: bool
) -> Refusal | None:
    """Why the desk stops the change; one that enlarges is judged as a new order of what is left."""
    block = Block(BlockOutcome.BLOCKED, to.open_quantity, to.close_quantity, to.unit_margin, 0, 0)
    asked = Asked(left, block, leaves)
    gate = await risk_gate.read(conn, [asked])
    return next(gate.refusals(asked), None) if enlarging else gate.halted(left)


async def _standing(
    conn: Connection, placed: PlacedOrder, order: LockedOrder, cl_ord_id: str
) -> Standing | Changed:
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
    return Standing(terms, traded, hold, row["changes"], await unsent.fetchone() is not None)


async def _promise(
    conn: Connection,
    portfolios: Portfolios,
    placed: PlacedOrder,
    hold: Hold,
    to: Hold,
    ledger: dict[str, Any],
) -> Changed | LockedPortfolios:
    """Shares and margin of the grown hold; when promised, in the view too, the derivatives to be written."""
    derivative = portfolios.concern(placed)
    derivatives = await portfolios.locked(conn, [placed.user_id] if derivative else [])
    available = ledger["available_cash"] - sum(derivatives.turn().values())
    more = to.blocked - hold.blocked
    if more > 0 and more > max(available, 0):
        return Changed(_insufficient(available))
    shares, terms = _shares(to) - _shares(hold), placed.terms
    sells = terms.product is Product.CNC and terms.side is Side.SELL
    if sells and shares > 0:
        held = await conn.execute(_FREE_SHARES, (placed.user_id, terms.instrument_id))
        free = await held.fetchone()
        if free is None or free["free"] < shares:
            return Changed(Refusal(RejectCode.HOLDINGS_INSUFFICIENT, "quantity"))
    if derivative:
        promise = await derivatives.promise(placed, _shares(to), available - more)
        if not promise.is_kept:
            return Changed(promise.refusal, promise.stale)
    step = ResizeStep(placed.user_id, placed.order_id, to, ledger["generation"])
    outcome, available = await portfolios.view.resize(step)
    if outcome is not ResizeOutcome.RESIZED:
        if derivative:
            await derivatives.take_back(placed.user_id)
        void = outcome is ResizeOutcome.VOID
        return Changed(stale=True) if void else Changed(_insufficient(available))
    if sells and shares:
        await conn.execute(_WRITE_SHARES, (shares, placed.user_id, terms.instrument_id))
    return derivatives


def _shares(hold: Hold) -> int:
    return hold.open_quantity + hold.close_quantity


def _insufficient(available: int) -> Refusal:
    return Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(available))


async def _write_hold(
    conn: Connection,
    placed: PlacedOrder,
    hold: Hold,
    to: Hold,
    pending: PendingChange | None,
    margin_price: int,
) -> None:
    change_id, changed, kept = astuple(pending) if pending else (None, None, None)
    values: dict[str, Any] = {"unit": to.unit_margin, "open": to.open_quantity, "close": to.close_quantity}
    values |= {"change_id": change_id, "changed": changed, "kept": kept}
    values |= {"price": margin_price, "order_id": placed.order_id}
    await conn.execute(_HOLD, values)
    await conn.execute(
        """UPDATE margin_ledger SET blocked_margin = blocked_margin + %s, updated_at_ns = %s
           WHERE user_id = %s""",
        (to.blocked - hold.blocked, time.time_ns(), placed.user_id),
    )
    await conn.execute("UPDATE orders SET changes = changes + 1 WHERE order_id = %s", (placed.order_id,))


async def _put_right(
    conn: Connection,
    placed: PlacedOrder,
    cl_ord_id: str,
    order: LockedOrder,
    terms: OrderTerms,
    leaves: Departure,
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
    (told,) = await audit.append(conn, [entry(placed, order, "CHANGED", order.view.status, now, **shown)])
    return told


async def _ask(
    conn: Connection,
    placed: PlacedOrder,
    cl_ord_id: str,
    terms: OrderTerms,
    leaves: Departure,
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
    await instructions.owe(conn, [Owing(placed, "REPLACE", request, enlarges=enlarging)], now)
