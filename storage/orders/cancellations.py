"""Taking orders back, in SQL alone: the client's cancel and the house's, in whatever process wants it.

One transaction: an order that was never submitted ends there and then, one in the outbox is withdrawn, one
that may have left is owed a cancel request, whose race with a fill the exchange decides. The database numbers
them. No workflow is asked: those that hold margin are told afterwards (storage/journals/order_queue.py).
Locks: the users' streams, the orders. Called through storage/orders/canceller.py.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg.rows import class_row

from bus.order_updates import OrderUpdate
from domain.instructions import CancelOrder, cancel_id
from domain.orders import OrderEvent, OrderStatus, PlacedOrder, next_status
from domain.rejects import Refusal, RejectCode
from storage import audit, transitions
from storage.audit import NOWHERE, AuditEntry, Origin
from storage.database import Connection
from storage.journals import frozen_outbox, outbox_rows, placed_orders
from storage.journals.outbox_rows import NewOutboxRow
from storage.locks import LockedOrder, lock_orders

"""The record of a cancel that the exchange is asked for."""

_SENT = "report->>'kind' = 'execution' AND report->>'exec_type' = '5'"
_LAST_ACCEPTED = f"""
    SELECT report->>'cl_ord_id' AS cl_ord_id FROM exchange_inbox i
    WHERE i.order_id = {{order_id}} AND broken IS NULL AND {_SENT} ORDER BY seq DESC LIMIT 1
"""
_STANDING = f"""
    SELECT o.order_id,
           (SELECT count(*) FROM exchange_outbox x
            WHERE x.order_id = o.order_id AND kind = 'CANCEL') AS cancels,
           EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND kind = 'CANCEL'
                   AND answered_at_ns IS NULL) AS pending,
           COALESCE(({_LAST_ACCEPTED.format(order_id="o.order_id")}), o.order_id::text) AS known_as
    FROM orders o WHERE o.order_id = ANY(%s)
"""
_WITHDRAW = """
    UPDATE exchange_outbox SET withdrawn_at_ns = %(now)s, workflow_due_at_ns = %(now)s
    WHERE order_id = ANY(%(order_ids)s) AND kind <> 'CANCEL'
      AND claimed_at_ns IS NULL AND sent_at_ns IS NULL AND withdrawn_at_ns IS NULL
    RETURNING order_id, kind
"""
# An order that has ended unstarted needs no story; its user's later orders need not wait for it.
_PASS_GATE = """
    UPDATE order_intake SET gate_passed_at_ns = %(now)s, started_at_ns = COALESCE(started_at_ns, %(now)s)
    WHERE order_id = ANY(%(order_ids)s)
"""


@dataclass(frozen=True, slots=True)
class CancelledBy:
    """Who takes an order back, for the record."""

    actor: str
    """`client`, a client id of staff, or what acts for the house: `square-off`."""
    reason: str | None = None
    """Shown to the client."""
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of one order's cancel."""

    status: OrderStatus
    """As the order stands now."""
    refusal: Refusal | None = None

    @property
    def sentence(self) -> str:
        if self.refusal is not None:
            return self.refusal.sentence
        return "Withdrawn before it left." if self.status.is_final else "The exchange is asked to cancel."


@dataclass(slots=True)
class Cancellations:
    """What a transaction did, to be announced once it is committed."""

    outcomes: dict[int, Cancellation] = field(default_factory=dict)
    """By order; an unknown order has none."""
    updates: list[OrderUpdate] = field(default_factory=list)
    exchanges: set[str] = field(default_factory=set)
    """These have a cancel request to send, or a user's next order."""
    unsubmitted: list[PlacedOrder] = field(default_factory=list)
    """Ended before they were submitted: what the margin view has blocked for them is nobody's."""
    withdrawn: bool = False
    """Workflows are due to hear of withdrawals."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the outbox and the inbox know of an order."""

    order_id: int
    cancels: int
    pending: bool
    known_as: str


async def cancel(conn: Connection, order_ids: Iterable[int], by: CancelledBy) -> Cancellations:
    """Take each order back as far as it goes. The order of the ids does not matter."""
    orders = await lock_orders(conn, order_ids)
    final = Refusal(RejectCode.ORDER_ALREADY_FINAL)
    done = Cancellations({i: Cancellation(order.view.status, final) for i, order in orders.items()})
    living = [order_id for order_id, order in orders.items() if not order.view.status.is_final]
    if not living:
        return done
    placed, standing = await placed_orders.read(conn, living), await _standing(conn, living)
    now = time.time_ns()
    withdrawn = await _withdraw(conn, living, now)
    done.withdrawn = bool(withdrawn)
    unsubmitted = [i for i in living if orders[i].view.status is OrderStatus.PENDING_VALIDATION]
    done.unsubmitted = [placed[i] for i in unsubmitted]
    ended = [i for i in living if i in unsubmitted or (i, "NEW") in withdrawn]
    left = [i for i in living if i not in ended]
    requested = [i for i in left if not standing[i].pending]
    await _end(conn, ended, now)
    if requested:
        owing = [_request(placed[i], orders[i], standing[i], now) for i in requested]
        await outbox_rows.enqueue(conn, owing, now)
    changes = [i for i in left if (i, "REPLACE") in withdrawn]
    events: list[tuple[OrderEvent, list[int]]] = [
        (OrderEvent.WITHDRAWN, ended),
        (OrderEvent.CHANGE_WITHDRAWN, changes),
        (OrderEvent.CANCEL_REQUESTED, requested),
    ]
    entries = [_entry(orders[i], event, by, now) for event, ids in events for i in ids]
    done.updates = await _record(conn, entries)
    pending = Refusal(RejectCode.CANCEL_ALREADY_PENDING)
    done.outcomes |= {i: Cancellation(orders[i].view.status, pending) for i in left}
    done.outcomes |= {i: Cancellation(orders[i].view.status) for i in requested}
    done.outcomes |= {i: Cancellation(OrderStatus.CANCELLED) for i in ended}
    done.exchanges = {placed[i].terms.exchange for i in (*requested, *ended)}
    return done


async def last_accepted(conn: Connection, order_id: int) -> str:
    """The ClOrdID under which the exchange knows the order: of its last accepted change, or its own."""
    query = _LAST_ACCEPTED.format(order_id="%s")
    found = await (await conn.execute(query.encode(), (order_id,))).fetchone()
    return str(found["cl_ord_id"]) if found else str(order_id)


async def _standing(conn: Connection, order_ids: Sequence[int]) -> dict[int, _Standing]:
    async with conn.cursor(row_factory=class_row(_Standing)) as cursor:
        await cursor.execute(_STANDING, (list(order_ids),))
        return {row.order_id: row for row in await cursor.fetchall()}


async def _withdraw(conn: Connection, order_ids: Sequence[int], now: int) -> set[tuple[int, str]]:
    """The orders, and the changes of orders, that had not left and now never will."""
    found = await conn.execute(_WITHDRAW, {"now": now, "order_ids": list(order_ids)})
    return {(row["order_id"], row["kind"]) for row in await found.fetchall()}


async def _end(conn: Connection, order_ids: Sequence[int], now: int) -> None:
    """They have passed the gate, and nothing more is said of them to the exchange."""
    if order_ids:
        await conn.execute(_PASS_GATE, {"now": now, "order_ids": list(order_ids)})
        await frozen_outbox.withdraw_cancels(conn, order_ids, now)


def _request(placed: PlacedOrder, order: LockedOrder, standing: _Standing, now: int) -> NewOutboxRow:
    request = CancelOrder(
        cl_ord_id=cancel_id(order.order_id, standing.cancels + 1),
        orig_cl_ord_id=standing.known_as,
        symbol=placed.terms.symbol,
        side=placed.terms.side,
        quantity=order.view.quantity,
        transact_time_ns=now,
    )
    return NewOutboxRow(placed, "CANCEL", request)


def _entry(order: LockedOrder, event: OrderEvent, by: CancelledBy, now: int) -> AuditEntry:
    ends, status = event is OrderEvent.WITHDRAWN, order.view.status
    named = "reject_reason" if ends else "reason"
    entry = AuditEntry(
        occurred_at_ns=now,
        user_id=order.user_id,
        event=event,
        actor=by.actor,
        order_id=order.order_id,
        status=next_status(status, OrderEvent.WITHDRAWN) if ends else status,
        detail={} if by.reason is None else {named: by.reason},
        traceparent=order.traceparent,
    )
    return audit.coming_from(by.origin, entry)


async def _record(conn: Connection, entries: Sequence[AuditEntry]) -> list[OrderUpdate]:
    """The orders that have ended stand so, and every entry is on record, users ascending."""
    ended = [one for one in entries if one.event is OrderEvent.WITHDRAWN]
    if ended:
        await transitions.write_statuses(conn, ended)
    return await audit.append(conn, sorted(entries, key=lambda entry: entry.user_id))
