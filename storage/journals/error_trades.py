"""Trades of no order of ours: the exchange's word stands, so they are the house's until allocated.

Posted to the error account of the exchange (`error:<exchange>`) in the transaction that journals the report,
and told to the risk desk. A trade whose order is known is never here. Called by storage/journals/inbox.py.
"""

import time
from collections.abc import Sequence

from domain.events import AlertKind
from domain.money import rupees
from domain.orders import Side
from domain.reports import ExecType, ExecutionReport
from storage import ledger
from storage.database import Connection, columns
from storage.journals.inbox_rows import Arrival
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

ACTOR = "gateway"
_WRITE = """
    INSERT INTO error_trades (exchange, exec_id, cl_ord_id, exchange_order_id, symbol, transaction_type,
                              quantity, price, traded_at_ns, booked_at_ns)
    SELECT exchange, exec_id, cl_ord_id, exchange_order_id, symbol, side::side, quantity, price,
           traded, booked
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[],
                %s::bigint[], %s::bigint[], %s::bigint[])
        AS t (exchange, exec_id, cl_ord_id, exchange_order_id, symbol, side, quantity, price, traded, booked)
"""
_BOOKED = "UPDATE exchange_inbox SET booked_at_ns = %s WHERE seq = ANY(%s)"


def is_trade(arrival: Arrival) -> bool:
    report = arrival.report
    if not isinstance(report, ExecutionReport) or report.exec_type is not ExecType.TRADE:
        return False
    return report.last_quantity > 0 and report.last_price > 0


async def book(conn: Connection, trades: Sequence[tuple[Arrival, int]]) -> list[RiskAlert]:
    """Book trades, each with its journal number, to the error accounts; tell the alerts after the commit."""
    if not trades:
        return []
    now = time.time_ns()
    pairs = [(a, r) for a, _ in trades if isinstance(r := a.report, ExecutionReport)]
    rows = [
        (
            arrival.exchange,
            report.exec_id,
            report.cl_ord_id[:60],
            report.exchange_order_id,
            report.symbol,
            report.side.value,
            report.last_quantity,
            report.last_price,
            report.transact_time_ns,
            now,
        )
        for arrival, report in pairs
    ]
    await conn.execute(_WRITE, columns(rows))
    postings = [
        (f"trade:{arrival.exchange}:{report.exec_id}", account, amount, now)
        for arrival, report in pairs
        for owed in [report.side.sign * report.last_quantity * report.last_price]
        for account, amount in ((f"error:{arrival.exchange}", -owed), (f"clearing:{arrival.exchange}", owed))
    ]
    await ledger.post(conn, postings)
    await conn.execute(_BOOKED, (now, [seq for _, seq in trades]))
    alerts = [_alert(arrival.exchange, report) for arrival, report in pairs]
    await risk_alerts.record(conn, alerts, ACTOR)
    return alerts


def _alert(exchange: str, report: ExecutionReport) -> RiskAlert:
    verb = "bought" if report.side is Side.BUY else "sold"
    traded = f"{report.last_quantity} {report.symbol} at Rs {rupees(report.last_price)}"
    return RiskAlert(
        AlertKind.UNKNOWN_ORDER_TRADED,
        f"{exchange} has {verb} {traded} ({report.exec_id}) for ClOrdID {report.cl_ord_id}, which is no "
        f"order of ours; it is booked to error:{exchange} until it is allocated.",
        detail={"exchange": exchange, "exec_id": report.exec_id, "cl_ord_id": report.cl_ord_id},
    )
