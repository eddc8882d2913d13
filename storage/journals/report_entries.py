"""The record's entry of a report, as the client reads it in the order's history and on the stream.

Pure, from what the report has made of its order (domain/execution.py). Called by storage/journals/inbox.py.
"""

from typing import Any

from domain.execution import Step
from domain.money import round_half_up, rupees
from domain.orders import OrderEvent
from domain.rejects import SENTENCES, cancel_reject
from domain.reports import CORRECTIONS, CancelRejected, ExecType
from storage.audit import AuditEntry
from storage.journals.inbox_rows import Arrival
from storage.locks import LockedOrder

_ENDS = frozenset({OrderEvent.EXCHANGE_REJECTED, OrderEvent.CANCELLED, OrderEvent.EXPIRED})


def entry(arrival: Arrival, order: LockedOrder, step: Step) -> AuditEntry:
    return AuditEntry(
        occurred_at_ns=arrival.received_at_ns,
        user_id=order.user_id,
        event=step.event,
        actor=f"exchange:{arrival.exchange}",
        order_id=order.order_id,
        status=order.view.status,
        detail=_detail(step),
        traceparent=order.traceparent,
    )


def _detail(step: Step) -> dict[str, Any]:
    """What the client reads: rupee strings, no internal names; absent where it has no meaning."""
    view, report = step.view, step.report
    detail: dict[str, Any] = {
        "filled_quantity": view.filled_quantity,
        "exchange_order_id": view.exchange_order_id,
    }
    if view.filled_quantity:
        detail["average_price"] = rupees(round_half_up(view.filled_value, view.filled_quantity))
    if report.text:
        detail["text"] = report.text
    if isinstance(report, CancelRejected):
        code = cancel_reject(report.reject_reason)
        return {**detail, "reject_code": code, "reject_reason": SENTENCES[code]}
    detail["exec_id"] = report.exec_id
    if report.exec_type in CORRECTIONS:
        detail["reference_exec_id"] = report.reference_exec_id
    if report.exec_type in {ExecType.TRADE, *CORRECTIONS}:
        detail |= {"last_quantity": report.last_quantity, "last_price": rupees(report.last_price)}
    if step.event in _ENDS and view.reject_code is not None:
        detail |= {"reject_code": view.reject_code, "reject_reason": view.reject_reason}
    if step.event is OrderEvent.REPLACED:
        price = rupees(view.price) if view.price is not None else None
        detail |= {"quantity": view.quantity, "price": price}
    return detail
