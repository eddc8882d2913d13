"""What a booking tells the risk desk: accounts that it leaves short, and trades that nothing explains.

No gate stands before the exchange's own word: the books take it as it is. An account is short when it is
bound for more than it has; the desk is told once for each booking that brings it below zero or further below.
A trade is unexplained where it goes beyond the hold of its order. In the booking's transaction
(storage/books/booking.py), whose ledger locks make the figures its own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from domain.events import AlertKind
from domain.money import rupees
from domain.orders import Side
from domain.reports import CancelRejected, ExecutionReport
from storage.books.book_rows import Entry, Fill
from storage.database import Connection
from storage.journals.unbooked import DueReport
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

ACTOR = "booking"
_SHORT = """
    SELECT user_id, client_id, available_cash FROM margin_ledger JOIN users USING (user_id)
    WHERE user_id = ANY(%s) AND available_cash < 0
"""


async def warn(
    conn: Connection, before: Mapping[int, int], entries: Sequence[Entry], undoing: Sequence[DueReport]
) -> list[RiskAlert]:
    """Put on record what the desk shall know, once all is in the books; it is told after the commit.

    `before` is the available cash of each account before the booking.
    """
    fills = [entry for entry in entries if isinstance(entry, Fill)]
    alerts = [_unexplained(fill) for fill in fills if fill.booked.use.excess_quantity]
    causes: dict[int, list[str]] = {}
    for fill in fills:
        causes.setdefault(fill.placed.user_id, []).append(f"trade {fill.report.exec_id}")
    for one in undoing:
        causes.setdefault(one.order.user_id, []).append(_undone(one.report))
    if causes:
        alerts += [alert async for alert in _shortfalls(conn, before, causes)]
    await risk_alerts.record(conn, alerts, ACTOR)
    return alerts


async def _shortfalls(
    conn: Connection, before: Mapping[int, int], causes: Mapping[int, Sequence[str]]
) -> AsyncIterator[RiskAlert]:
    found = await conn.execute(_SHORT, (list(causes),))
    for row in await found.fetchall():
        user_id, available = row["user_id"], row["available_cash"]
        if available < min(before[user_id], 0):
            yield RiskAlert(
                AlertKind.MARGIN_SHORTFALL,
                f"The account is Rs {rupees(-available)} short since {', '.join(causes[user_id])}.",
                user_id,
                {"client_id": row["client_id"], "available_cash": rupees(available)},
            )


def _unexplained(fill: Fill) -> RiskAlert:
    report, excess = fill.report, fill.booked.use.excess_quantity
    verb = "bought" if fill.placed.terms.side is Side.BUY else "sold"
    return RiskAlert(
        AlertKind.UNEXPLAINED_FILL,
        f"{fill.exchange} has {verb} {report.last_quantity} {report.symbol} at Rs "
        f"{rupees(report.last_price)} ({report.exec_id}), {excess} more than order {fill.placed.order_id} "
        "had open; it is booked.",
        fill.placed.user_id,
        {"order_id": str(fill.placed.order_id), "exec_id": report.exec_id},
    )


def _undone(report: ExecutionReport | CancelRejected) -> str:
    trade = report.reference_exec_id if isinstance(report, ExecutionReport) else None
    return f"the exchange took back or corrected {trade}"
