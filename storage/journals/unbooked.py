"""What is journaled of an account and not in its books yet: reports, and what was withdrawn before it left.

`take` reads it and marks it booked in one statement, hence of one snapshot: an order is final there exactly
when its last report is there. Its caller has locked the ledger rows of these users, so nobody else books them
meanwhile. Called by storage/books/booking.py.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from domain.instruments import InstrumentKind
from domain.orders import OrderStatus, OrderTerms
from domain.reports import CancelRejected, ExecutionReport
from storage.database import Connection
from storage.journals.inbox_rows import report_of
from storage.journals.placed_orders import order_terms

_BEHIND = """
    SELECT user_id FROM exchange_inbox
    WHERE user_id = ANY(%(users)s) AND booked_at_ns IS NULL AND broken IS NULL
    UNION
    SELECT user_id FROM exchange_outbox
    WHERE user_id = ANY(%(users)s) AND withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL
"""
# Arrays, not joins: a table that a burst has just filled has no statistics, and a bad plan takes minutes.
_TAKE = """
    WITH due AS MATERIALIZED (
        SELECT seq, order_id, exchange, report, booked_at_ns IS NULL AS is_unbooked FROM exchange_inbox
        WHERE user_id = ANY(%(users)s) AND booked_at_ns IS NULL AND broken IS NULL
        UNION
        SELECT seq, order_id, exchange, report, booked_at_ns IS NULL FROM exchange_inbox
        WHERE order_id = ANY(%(followed)s) AND consumed_at_ns IS NULL AND broken IS NULL
    ), withdrawn AS MATERIALIZED (
        SELECT seq, order_id, kind, cl_ord_id FROM exchange_outbox
        WHERE user_id = ANY(%(users)s) AND withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL
    ), booked AS (
        UPDATE exchange_inbox SET booked_at_ns = COALESCE(booked_at_ns, %(now)s),
            consumed_at_ns = CASE WHEN order_id = ANY(%(followed)s) THEN %(now)s ELSE consumed_at_ns END
        WHERE seq = ANY(ARRAY(SELECT seq FROM due))
    ), ended AS (
        UPDATE exchange_outbox SET
            answered_at_ns = CASE WHEN withdrawn_at_ns IS NULL THEN answered_at_ns
                                  ELSE COALESCE(answered_at_ns, %(now)s) END,
            workflow_due_at_ns = CASE WHEN order_id = ANY(%(followed)s) THEN NULL ELSE workflow_due_at_ns END
        WHERE seq = ANY(ARRAY(SELECT seq FROM withdrawn UNION
                              SELECT seq FROM exchange_outbox
                              WHERE order_id = ANY(%(followed)s) AND workflow_due_at_ns IS NOT NULL))
    )
    SELECT o.order_id, user_id, instrument_id, order_type, transaction_type, product, validity, price,
           trigger_price, market_protection, status, quantity - taken_back_quantity AS quantity,
           filled_quantity, exchange_order_id, reject_code, reject_reason,
           (SELECT kind FROM instruments n WHERE n.instrument_id = o.instrument_id) AS kind,
           (SELECT cl_ord_id FROM withdrawn w
            WHERE w.order_id = o.order_id AND w.kind = 'REPLACE') AS withdrawn_change,
           o.order_id = ANY(ARRAY(SELECT order_id FROM withdrawn)) AS is_withdrawn,
           seq, exchange, report, is_unbooked
    FROM orders o LEFT JOIN due USING (order_id)
    WHERE o.order_id = ANY(ARRAY(SELECT order_id FROM due UNION SELECT order_id FROM withdrawn
                                 UNION SELECT unnest(%(followed)s::bigint[])))
    ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class JournaledOrder:
    """An order as the journals have it, all of its unbooked reports included."""

    order_id: int
    user_id: int
    terms: OrderTerms
    """As they stand now."""
    kind: InstrumentKind
    status: OrderStatus
    quantity: int
    """Without what was traded and taken back since."""
    filled_quantity: int
    exchange_order_id: str | None
    reject_code: str | None
    reject_reason: str | None
    withdrawn_change: str | None
    """ClOrdID of a change that never left and is not booked yet."""
    is_withdrawn: bool
    """The order, or a change of it, never left, and that is not booked yet."""


@dataclass(frozen=True, slots=True)
class DueReport:
    """A report to be booked, or only to be made known to its order's workflow."""

    order: JournaledOrder
    exchange: str
    report: ExecutionReport | CancelRejected
    is_unbooked: bool


@dataclass(frozen=True, slots=True)
class UnbookedReports:
    orders: dict[int, JournaledOrder]
    """Those followed, and all others of the users that have something to book."""
    reports: list[DueReport]
    """In the order of the journal."""


async def behind(conn: Connection, user_ids: Collection[int]) -> set[int]:
    """The users among these whose books lag behind the journals. One statement."""
    found = await conn.execute(_BEHIND, {"users": list(user_ids)})
    return {row["user_id"] for row in await found.fetchall()}


async def take(conn: Connection, user_ids: Collection[int], followed: Sequence[int]) -> UnbookedReports:
    """Mark what is due of these users as booked, and what is due of the `followed` orders (ids) as known to
    their workflows; the caller books it in this transaction."""
    values = {"users": list(user_ids), "followed": list(followed), "now": time.time_ns()}
    rows = await (await conn.execute(_TAKE, values)).fetchall()
    orders = {row["order_id"]: _order(row) for row in rows}
    reports = [
        DueReport(orders[row["order_id"]], row["exchange"], report_of(row["report"]), row["is_unbooked"])
        for row in rows
        if row["seq"] is not None
    ]
    return UnbookedReports(orders, reports)


def _order(row: dict[str, Any]) -> JournaledOrder:
    names = ("exchange_order_id", "reject_code", "reject_reason", "withdrawn_change", "is_withdrawn")
    return JournaledOrder(
        row["order_id"],
        row["user_id"],
        order_terms(row),
        # One that the master does not list any more is booked as a share.
        InstrumentKind(row["kind"] or InstrumentKind.EQUITY),
        OrderStatus(row["status"]),
        row["quantity"],
        row["filled_quantity"],
        **{name: row[name] for name in names},
    )
