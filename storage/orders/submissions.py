"""The last step before the exchange: promise the margin and owe the order, or say why not.

One transaction a group, keyed by the orders: a repeat finds what the first did. Locks, each in ascending
order: the users' streams, the orders, the ledger rows. The outbox row is what the gateway sends; nothing here
talks to the exchange. Called by the order worker.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bus.order_updates import OrderUpdate
from domain.exchange_terms import ExchangeTerms
from domain.instructions import NewOrder
from domain.margin import Block
from domain.money import rupees
from domain.orders import OrderEvent, OrderStatus, PlacedOrder, next_status
from domain.rejects import Refusal, RejectCode
from domain.slicing import parts
from storage import transitions
from storage.database import Connection, columns
from storage.journals import outbox_rows
from storage.journals.outbox_rows import NewOutboxRow
from storage.locks import LockedOrder, lock_orders
from storage.margin.accounts import void_views
from storage.margin.derivatives import DerivativeMargins, LockedDerivatives
from storage.margin.reservations import Accounts, Reservation, lock_accounts, sells_holdings
from storage.orders import cancellations, self_trades, slices
from storage.orders.cancellations import CancelledBy
from storage.risk import risk_gate
from storage.transitions import entry

_WRITE_HOLDS = """
    INSERT INTO margin_holds (order_id, user_id, instrument_id, product, transaction_type, unit_margin,
                              open_quantity, close_quantity, margin_price)
    SELECT order_id, user_id, instrument_id, product::product, side::side, unit, open, close, price
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::int[],
                %s::int[], %s::bigint[])
        AS h (order_id, user_id, instrument_id, product, side, unit, open, close, price)
"""
_WRITE_LEDGERS = """
    UPDATE margin_ledger l SET blocked_margin = blocked_margin + w.blocked, updated_at_ns = %(now)s
    FROM (SELECT user_id, sum(blocked)::bigint AS blocked
          FROM unnest(%(users)s::bigint[], %(blocked)s::bigint[]) AS b (user_id, blocked) GROUP BY user_id) w
    WHERE l.user_id = w.user_id
"""
_WRITE_SHARES = """
    UPDATE holdings h SET blocked_quantity = blocked_quantity + w.quantity
    FROM (SELECT user_id, instrument_id, sum(quantity)::int AS quantity
          FROM unnest(%s::bigint[], %s::text[], %s::int[]) AS s (user_id, instrument_id, quantity)
          GROUP BY user_id, instrument_id) w
    WHERE h.user_id = w.user_id AND h.instrument_id = w.instrument_id
"""


THE_HOUSE = CancelledBy("house", "It would trade with an order that the house places for this account.")


class SubmissionRequest(NamedTuple):
    placed: PlacedOrder
    block: Block
    departure: ExchangeTerms


@dataclass(frozen=True, slots=True)
class Submission:
    """Submitted when there is neither a refusal nor staleness."""

    refusal: Refusal | None = None
    stale: bool = False
    """The block is of a view that was rebuilt since: nothing was written, block again."""
    spent: bool = False
    """An earlier run submitted the order and its hold is used up: a block made since is nobody's."""
    told: OrderUpdate | None = None
    told_beside: tuple[OrderUpdate, ...] = ()
    """Of slices that were submitted with this one and are not asked for here, and of orders of the client
    that stood in the way of the house."""
    portfolio_margin: int = 0
    """Blocked with it for the whole portfolio, beside the order's own block."""
    version: int | None = None
    """Of the books on which it was decided now; None: by an earlier run, or of no account."""


async def submit(
    conn: Connection, portfolios: DerivativeMargins, asked: Sequence[SubmissionRequest]
) -> list[Submission]:
    """Write holds, statuses, instructions and record. A repeat after success changes nothing."""
    wholes = await slices.read(conn, [a.placed for a in asked])
    orders = await lock_orders(conn, [*(a.placed.order_id for a in asked), *wholes.order_ids])
    accounts = await lock_accounts(conn, asked)
    derivatives = await portfolios.locked(
        conn, {a.placed.user_id for a in asked if portfolios.concern(a.placed)}
    )
    for user_id, more in derivatives.turn().items():
        accounts.available[user_id] -= more
    desk, own = await risk_gate.read(conn, asked), await self_trades.read(conn, asked)
    answers: dict[int, Submission] = {}
    taken: list[SubmissionRequest] = []
    in_the_way: set[int] = set()
    for a in sorted(asked, key=lambda a: a.placed.intake_seq):
        order = orders[a.placed.order_id]
        if order.order_id in answers:
            continue
        if order.view.status is not OrderStatus.PENDING_VALIDATION:
            answers[order.order_id] = await _first_answer(conn, order)
            continue
        judged = a._replace(placed=wholes.of(a.placed))
        refusal = wholes.refusal(a.placed, orders) or next(desk.refusals(judged), None) or own.refusal(a)
        promise = Reservation(refusal=refusal) if refusal else accounts.take(judged.placed, a.block)
        if promise.is_kept and portfolios.concern(a.placed):
            promise = await _promise(derivatives, accounts, judged)
        answers[order.order_id] = Submission(
            promise.refusal,
            promise.stale,
            portfolio_margin=promise.increase,
            version=accounts.versions.get(a.placed.user_id),
        )
        if promise.is_kept:
            desk.take(judged)
            own.take(a)
            in_the_way |= own.in_the_way(a)
            together = wholes.together(a.placed)
            blocks = parts(a.block, [placed.terms.quantity for placed in together])
            for placed, block in zip(together, blocks, strict=True):
                taken.append(SubmissionRequest(placed, block, a.departure))
                answers.setdefault(placed.order_id, Submission())
                view = orders[placed.order_id].view
                status = next_status(view.status, OrderEvent.SUBMITTED)
                orders[placed.order_id].view = replace(view, status=status)
    made_way = await cancellations.cancel(conn, in_the_way, THE_HOUSE)
    for update in await _write(conn, taken, orders, answers, accounts.client_ids) if taken else ():
        order_id = int(update.body["order_id"])
        answers[order_id] = replace(answers[order_id], told=update)
    await derivatives.write(conn)
    await wholes.renew(conn, [a.placed for a in taken])
    await void_views(conn, accounts.voided)
    return _answered(asked, answers, made_way.updates)


def _answered(
    asked: Sequence[SubmissionRequest], answers: dict[int, Submission], made_way: Sequence[OrderUpdate]
) -> list[Submission]:
    """In the order of the asked; the first takes along the updates of orders that nobody here asks for."""
    found, ids = [answers[a.placed.order_id] for a in asked], {a.placed.order_id for a in asked}
    slices_told = [one.told for i, one in answers.items() if i not in ids and one.told is not None]
    beside = (*made_way, *slices_told)
    return [replace(found[0], told_beside=beside), *found[1:]] if beside else found


async def _promise(
    derivatives: LockedDerivatives, accounts: Accounts, asked: SubmissionRequest
) -> Reservation:
    """What a derivative adds to its account's portfolio, on top of its own block."""
    placed, block, _ = asked
    promise = await derivatives.promise(placed, placed.terms.quantity, accounts.available[placed.user_id])
    # What was taken for the order's own block is given back with it.
    accounts.available[placed.user_id] -= promise.increase if promise.is_kept else -block.required
    return promise


async def _first_answer(conn: Connection, order: LockedOrder) -> Submission:
    """What an earlier run decided: without a hold, one of our own gates has refused the order."""
    held = await conn.execute("SELECT state FROM margin_holds WHERE order_id = %s", (order.order_id,))
    hold = await held.fetchone()
    if hold is not None or order.view.reject_code is None:
        return Submission(spent=hold is None or hold["state"] != "BLOCKED")
    return Submission(Refusal(RejectCode(order.view.reject_code)))


async def _write(
    conn: Connection,
    taken: Sequence[SubmissionRequest],
    orders: dict[int, LockedOrder],
    answers: dict[int, Submission],
    client_ids: dict[int, str],
) -> list[OrderUpdate]:
    now, status = time.time_ns(), OrderStatus.PENDING_OPEN
    await conn.execute(_WRITE_HOLDS, columns(_hold(a) for a in taken))
    blocked = {"users": [a.placed.user_id for a in taken], "blocked": [a.block.required for a in taken]}
    await conn.execute(_WRITE_LEDGERS, blocked | {"now": now})
    sold = [
        (a.placed.user_id, a.placed.terms.instrument_id, a.placed.terms.quantity)
        for a in taken
        if sells_holdings(a.placed)
    ]
    if sold:
        await conn.execute(_WRITE_SHARES, columns(sold))
    new = [
        NewOutboxRow(
            a.placed, "NEW", _new_order(a, client_ids[a.placed.user_id], now), a.departure.release_phases
        )
        for a in taken
    ]
    await outbox_rows.enqueue(conn, new, now)
    submitted = OrderEvent.SUBMITTED
    entries = [
        entry(a.placed, orders[a.placed.order_id], submitted, status, now, **_submitted(a, answers))
        for a in taken
    ]
    return await transitions.write(conn, entries)


def _submitted(asked: SubmissionRequest, answers: dict[int, Submission]) -> dict[str, Any]:
    """What the client reads: the margin, the protected price of an unpriced order, and what releases it."""
    departure = asked.departure
    blocked = asked.block.required + max(0, answers[asked.placed.order_id].portfolio_margin)
    detail: dict[str, Any] = {"blocked_margin": rupees(blocked)}
    if departure.price is not None and departure.price != asked.placed.terms.price:
        detail["protected_price"] = rupees(departure.price)
    if departure.release_phases:
        detail["release_phases"] = list(departure.release_phases)
    return detail


def _hold(asked: SubmissionRequest) -> tuple[Any, ...]:
    placed, block, leaves = asked
    return (
        placed.order_id,
        placed.user_id,
        placed.terms.instrument_id,
        placed.terms.product.value,
        placed.terms.side.value,
        block.unit_margin,
        block.open_quantity,
        block.close_quantity,
        leaves.margin_price,
    )


def _new_order(asked: SubmissionRequest, client_id: str, now: int) -> NewOrder:
    placed, departure = asked.placed, asked.departure
    terms = placed.terms
    return NewOrder(
        cl_ord_id=str(placed.order_id),
        client_code=client_id,
        symbol=terms.symbol,
        side=terms.side,
        quantity=terms.quantity,
        order_type=departure.order_type,
        validity=terms.validity,
        price=departure.price,
        trigger_price=terms.trigger_price,
        transact_time_ns=now,
    )
