"""Reports that came before what they rest on, and the trades that busts and corrections refer to.

FIX keeps the order of a session; a report that was lost and is resent, or told on another session, may still
come late. What did not fit is kept as a break and taken in as soon as it fits, at a new place in the journal,
so that it is booked after what it rests on. Called by storage/journals/inbox.py under the orders' locks.
"""

from collections.abc import Callable, Collection, Sequence

from domain.execution import Outcome, Step, Trade
from domain.reports import CORRECTIONS, CancelRejected, ExecType, ExecutionReport
from storage.database import Connection
from storage.journals.inbox_rows import Arrival, report_of
from storage.locks import LockedOrder

_TRADES = """
    SELECT order_id, report FROM exchange_inbox
    WHERE order_id = ANY(%s) AND broken IS NULL AND report->>'exec_type' IN ('F', 'G', 'H')
      AND seq <> ALL(%s::bigint[])
    ORDER BY seq
"""
_WAITING = """
    SELECT seq, exchange, session, msg_seq_num, report, received_at_ns FROM exchange_inbox
    WHERE order_id = ANY(%s) AND broken IS NOT NULL AND report->>'kind' <> 'unreadable' AND seq <> ALL(%s)
    ORDER BY seq
"""
_TAKE_IN = """
    UPDATE exchange_inbox SET seq = DEFAULT, broken = NULL, booked_at_ns = NULL, consumed_at_ns = NULL,
        signalled_at_ns = NULL, alerted_at_ns = NULL
    WHERE seq = %s
"""


async def recall_trades(
    conn: Connection, fresh: Sequence[tuple[Arrival, int]], orders: dict[int, LockedOrder]
) -> None:
    """Where a bust or correction has come or waits, what has traded of its order and stands."""
    asked = {
        a.order_id
        for a, _ in fresh
        if isinstance(a.report, ExecutionReport) and a.report.exec_type in CORRECTIONS
    }
    wanted = [o for o in orders.values() if o.has_breaks or o.order_id in asked]
    if not wanted:
        return
    found = await conn.execute(_TRADES, ([o.order_id for o in wanted], [seq for _, seq in fresh]))
    for row in await found.fetchall():
        remember(orders[row["order_id"]], report_of(row["report"]))


def remember(order: LockedOrder, report: ExecutionReport | CancelRejected) -> None:
    """An applied report's trade stands from now on, and the one it refers to no more."""
    if not isinstance(report, ExecutionReport):
        return
    if report.exec_type in CORRECTIONS:
        order.trades.pop(report.reference_exec_id or "", None)
    if report.exec_type in {ExecType.TRADE, ExecType.TRADE_CORRECT}:
        order.trades[report.exec_id] = Trade(report.last_quantity, report.last_price)


async def waiting(
    conn: Connection, orders: Sequence[LockedOrder], fresh: Collection[int]
) -> list[tuple[Arrival, int]]:
    """Earlier breaks of these orders, with their journal numbers; `fresh` are known already."""
    order_ids = [order.order_id for order in orders if order.has_breaks]
    if not order_ids:
        return []
    found = await conn.execute(_WAITING, (order_ids, list(fresh)))
    return [
        (
            Arrival(
                row["exchange"],
                row["session"],
                row["msg_seq_num"],
                report_of(row["report"]),
                row["received_at_ns"],
            ),
            row["seq"],
        )
        for row in await found.fetchall()
    ]


async def take_in(conn: Connection, seq: int) -> None:
    """A report that did not fit is due from now on, after all that is journaled."""
    await conn.execute(_TAKE_IN, (seq,))


async def reconsider(
    conn: Connection, late: Sequence[tuple[Arrival, int]], take: Callable[[Arrival], Outcome]
) -> list[int]:
    """Take in whatever fits now, until nothing more does; the journal numbers of what was taken in."""
    left, taken = list(late), list[int]()
    while fits := next((one for one in left if isinstance(take(one[0]), Step)), None):
        left.remove(fits)
        await take_in(conn, fits[1])
        taken.append(fits[1])
    return taken
