"""Trades that did not fit when they came, and whose missing reports have not come: believed as they are.

A trade waits for what it rests on (storage/journals/out_of_order.py), but not for ever: it has happened, so
it is applied and booked all the same, and the risk desk is told that the counts of exchange and journal
differ. What comes later is held against the new count. Called by the operations worker each second; locks as
the gateway's journal does.
"""

from dataclasses import dataclass

from bus.order_updates import OrderUpdate
from domain.events import AlertKind
from domain.execution import believe
from domain.money import rupees
from domain.reports import ExecutionReport
from storage import audit
from storage.database import Connection
from storage.journals import inbox, out_of_order
from storage.journals.inbox_rows import Arrival, report_of
from storage.journals.report_entries import entry
from storage.locks import LockedOrder, lock_orders
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

ACTOR = "journal"
AT_ONCE = 100
_OVERDUE = """
    SELECT seq, order_id, exchange, session, msg_seq_num, report, broken, received_at_ns FROM exchange_inbox
    WHERE broken IS NOT NULL AND user_id IS NOT NULL AND report->>'exec_type' = 'F' AND received_at_ns < %s
    ORDER BY seq LIMIT %s
"""
_STILL = "SELECT seq FROM exchange_inbox WHERE seq = ANY(%s) AND broken IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Believed:
    """To be told after the commit."""

    updates: list[OrderUpdate]
    owners: set[str]
    alerts: list[RiskAlert]


async def take_in(conn: Connection, received_before_ns: int, now_ns: int) -> Believed:
    """Apply the overdue trades to their orders; their workflows and books find them due."""
    rows = await (await conn.execute(_OVERDUE, (received_before_ns, AT_ONCE))).fetchall()
    orders = await lock_orders(conn, [row["order_id"] for row in rows])
    found = await conn.execute(_STILL, ([row["seq"] for row in rows],))
    still = {row["seq"] for row in await found.fetchall()}
    entries, alerts, changed = [], [], dict[int, LockedOrder]()
    for row in (row for row in rows if row["seq"] in still):
        report, order = report_of(row["report"]), orders[row["order_id"]]
        if not isinstance(report, ExecutionReport) or (step := believe(order.view, report)) is None:
            continue
        names = (row["exchange"], row["session"], row["msg_seq_num"])
        order.view, changed[order.order_id] = step.view, order
        await out_of_order.take_in(conn, row["seq"])
        entries.append(entry(Arrival(*names, report, now_ns), order, step))
        alerts.append(_alert(row["exchange"], report, order, row["broken"]))
    await inbox.write_orders(conn, list(changed.values()), now_ns)
    updates = await audit.append(conn, sorted(entries, key=lambda one: one.user_id))
    await risk_alerts.record(conn, alerts, ACTOR)
    return Believed(updates, {order.owner for order in changed.values() if order.owner}, alerts)


def _alert(exchange: str, report: ExecutionReport, order: LockedOrder, why: str) -> RiskAlert:
    traded = f"{report.last_quantity} {report.symbol} at Rs {rupees(report.last_price)}"
    return RiskAlert(
        AlertKind.TRADE_BELIEVED,
        f"{exchange} has traded {traded} ({report.exec_id}) of order {order.order_id}, which did not fit: "
        f"{why}. Nothing has explained it since; it is booked.",
        order.user_id,
        {"order_id": str(order.order_id), "exec_id": report.exec_id},
    )
