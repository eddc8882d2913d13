"""What a report does to an order's exchange-facing facts: a pure step, or a break that says why not.

Quantities are checked against what earlier reports told: a fill is applied once, in order, never inferred.
The journal of the gateway applies the step under the order's lock; anything that does not fit is a break:
kept, alerted, and the order left untouched. FIX 8 (ExecType 150, CumQty 14, LeavesQty 151) and FIX 9.
"""

from dataclasses import dataclass, replace

from domain.instructions import asks_cancel
from domain.orders import TRANSITIONS, IllegalTransition, OrderEvent, OrderStatus, next_status
from domain.rejects import SENTENCES, RejectCode, order_reject
from domain.reports import CORRECTIONS, CancelRejected, ExecType, ExecutionReport, OrdStatus

NO_ORDER = "NONE"
"""OrderID (37) of an answer about an order that the exchange does not have."""
UNKNOWN_ORDER = 5
"""OrdRejReason (103)."""


@dataclass(frozen=True, slots=True)
class ExchangeView:
    """An order as far as the exchange has told it. Prices and values in paise."""

    status: OrderStatus
    quantity: int
    price: int | None
    trigger_price: int | None
    filled_quantity: int = 0
    filled_value: int = 0
    taken_back: int = 0
    """Traded and taken back since; it does not return to the market."""
    exchange_order_id: str | None = None
    reject_code: str | None = None
    """Why it was refused, or why the exchange ended it unasked."""
    reject_reason: str | None = None
    immediate: bool = False
    """It cannot rest: what finds nothing on the other side is cancelled."""


@dataclass(frozen=True, slots=True)
class Step:
    """The view after a report. `report` is what the order's workflow shall read."""

    view: ExchangeView
    event: OrderEvent
    report: ExecutionReport | CancelRejected


@dataclass(frozen=True, slots=True)
class Break:
    """Why a report cannot be believed as it stands."""

    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A status answer that tells nothing new."""


Outcome = Step | Break | Agreement


def is_unknown_order(report: ExecutionReport) -> bool:
    """The answer to a status request: the exchange never got the order."""
    if report.exec_type is not ExecType.ORDER_STATUS:
        return False
    refused = report.ord_status is OrdStatus.REJECTED and report.reject_reason == UNKNOWN_ORDER
    return refused or report.exchange_order_id == NO_ORDER


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill as it stands: told by a trade, or last corrected."""

    quantity: int
    price: int


def apply(
    view: ExchangeView, report: ExecutionReport | CancelRejected, undone: Trade | None = None
) -> Outcome:
    """One report on one order; `undone` is the standing trade that a bust or correction refers to."""
    if isinstance(report, CancelRejected):
        return Step(view, OrderEvent.CANCEL_REJECTED, report)
    if report.exec_type is ExecType.ORDER_STATUS:
        return _status_answer(view, report)
    if report.exec_type is ExecType.RESTATED:
        return Step(replace(view, price=report.price), OrderEvent.REPRICED, report)
    if report.exec_type in CORRECTIONS:
        return _correction(view, report, undone)
    event = report.order_event
    assert event is not None
    return _wrong_numbers(view, report, event) or _step(view, report, event, asks_cancel(report.cl_ord_id))


def believe(view: ExchangeView, report: ExecutionReport) -> Step | None:
    """A trade that did not fit, applied all the same; None for what is no trade at all."""
    if report.exec_type is not ExecType.TRADE or report.last_quantity <= 0 or report.last_price <= 0:
        return None
    filled = view.filled_quantity + report.last_quantity
    outcome = _step(view, replace(report, cumulative_quantity=filled), OrderEvent.PARTIAL_FILL)
    return replace(outcome, report=report) if isinstance(outcome, Step) else None


def _step(view: ExchangeView, report: ExecutionReport, event: OrderEvent, asked: bool = True) -> Outcome:
    """`asked`: the end of the order may be what its client asked for."""
    if report.exec_type is ExecType.TRADE:
        whole = report.cumulative_quantity >= view.quantity - view.taken_back
        event = OrderEvent.FILL if whole else event
        event = event if (view.status, event) in TRANSITIONS else OrderEvent.UNEXPECTED_FILL
    try:
        status = next_status(view.status, event)
    except IllegalTransition as illegal:
        return Break(str(illegal))
    after = replace(view, status=status, exchange_order_id=report.exchange_order_id)
    if report.exec_type is ExecType.TRADE:
        after = replace(
            after,
            filled_quantity=view.filled_quantity + report.last_quantity,
            filled_value=view.filled_value + report.last_quantity * report.last_price,
        )
    elif event is OrderEvent.REPLACED:
        after = replace(
            after, quantity=report.quantity, price=report.price, trigger_price=report.trigger_price
        )
    elif event is OrderEvent.EXCHANGE_REJECTED:
        after = _because(after, report, order_reject(report.reject_reason))
        after = replace(after, exchange_order_id=view.exchange_order_id)
    elif event is OrderEvent.EXPIRED:
        after = _because(after, report, RejectCode.EXCHANGE_EXPIRED)
    elif event is OrderEvent.CANCELLED and not asked:
        unmet = view.immediate and not report.text
        code = RejectCode.EXCHANGE_NO_LIQUIDITY if unmet else RejectCode.EXCHANGE_CANCELLED
        after = _because(after, report, code)
    return Step(after, event, report)


def _because(view: ExchangeView, report: ExecutionReport, code: RejectCode) -> ExchangeView:
    """With our code and the exchange's own words."""
    words = f"{SENTENCES[code]} {report.text or ''}".strip()
    return replace(view, reject_code=code, reject_reason=words)


def _correction(view: ExchangeView, report: ExecutionReport, undone: Trade | None) -> Outcome:
    """A trade is taken back, in whole or part; a correction puts another in its place."""
    if undone is None:
        return Break(f"it refers to trade {report.reference_exec_id}, which does not stand here")
    corrects = report.exec_type is ExecType.TRADE_CORRECT
    quantity, price = (report.last_quantity, report.last_price) if corrects else (0, 0)
    if corrects and not (0 < quantity <= undone.quantity and price > 0):
        return Break(f"a trade of {undone.quantity} corrected to {quantity} at {price}")
    lost = undone.quantity - quantity
    filled = view.filled_quantity - lost
    if report.cumulative_quantity != filled:
        return Break(f"the exchange counts {report.cumulative_quantity} filled, the journal {filled}")
    if corrects:
        event = OrderEvent.TRADE_REDUCED if lost else OrderEvent.TRADE_CORRECTED
    else:
        event = OrderEvent.TRADE_CANCELLED if filled else OrderEvent.LAST_TRADE_CANCELLED
    try:
        status = next_status(view.status, event)
    except IllegalTransition as illegal:
        return Break(str(illegal))
    value = view.filled_value - undone.quantity * undone.price + quantity * price
    taken_back = view.taken_back + lost
    after = replace(view, status=status, filled_quantity=filled, filled_value=value, taken_back=taken_back)
    return Step(after, event, report)


def _wrong_numbers(view: ExchangeView, report: ExecutionReport, event: OrderEvent) -> Break | None:
    expected = view.filled_quantity
    if report.exec_type is ExecType.TRADE:
        if report.last_quantity <= 0 or report.last_price <= 0 or report.leaves_quantity < 0:
            fill = f"{report.last_quantity} at {report.last_price}, {report.leaves_quantity} open"
            return Break(f"a fill of {fill}")
        expected += report.last_quantity
    if report.cumulative_quantity != expected:
        return Break(f"the exchange counts {report.cumulative_quantity} filled, the journal {expected}")
    if report.exec_type is ExecType.TRADE:
        return _wrong_rest(view, report)
    if event is OrderEvent.REPLACED and report.quantity < (done := view.filled_quantity + view.taken_back):
        return Break(f"replaced to {report.quantity}, below the {done} traded")
    return None


def _wrong_rest(view: ExchangeView, report: ExecutionReport) -> Break | None:
    """More than the order was for, or after its end, has traded all the same; what the exchange says of an
    order that it knows otherwise than we do waits for the report that explains it."""
    most = view.quantity - view.taken_back
    if report.quantity != view.quantity and report.cumulative_quantity > most:
        return Break(f"{report.cumulative_quantity} filled of {most}")
    if view.status.is_final or report.cumulative_quantity > most:
        return None
    if report.cumulative_quantity + report.leaves_quantity != most:
        parts = f"filled {report.cumulative_quantity} and open {report.leaves_quantity}"
        return Break(f"{parts} do not make {most}")
    return None


_IMPLIED = {
    OrdStatus.NEW: ExecType.NEW,
    OrdStatus.CANCELLED: ExecType.CANCELLED,
    OrdStatus.REJECTED: ExecType.REJECTED,
    OrdStatus.EXPIRED: ExecType.EXPIRED,
    OrdStatus.DONE_FOR_DAY: ExecType.EXPIRED,
}


def _status_answer(view: ExchangeView, report: ExecutionReport) -> Outcome:
    """A state may be learned from a status answer, a fill never: it has to come as a trade."""
    if report.cumulative_quantity != view.filled_quantity:
        counts = f"{report.cumulative_quantity} filled, the journal {view.filled_quantity}"
        return Break(f"status answer: the exchange counts {counts}; its trades are missing")
    implied = _IMPLIED.get(report.ord_status)
    known = view.status.is_final or (implied is ExecType.NEW and view.status is not OrderStatus.PENDING_OPEN)
    if implied is None or known:
        return Agreement()
    told = replace(report, exec_type=implied)
    event = told.order_event
    assert event is not None
    return _step(view, told, event)
