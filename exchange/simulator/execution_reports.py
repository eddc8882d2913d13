"""How the exchange writes its reports: an order's next one from its last one and what happened to it.

Invariant: OrderQty = CumQty + LeavesQty while an order works, LeavesQty is 0 once it is done.
Words: FIX ExecType (150), OrdStatus (39). Called by venue.py.
"""

from dataclasses import dataclass, replace

from domain.instructions import CancelOrder, NewOrder, ReplaceOrder, StatusRequest
from domain.orders import OrderType, Side, Validity
from domain.reports import CancelRejected, ExecType, ExecutionReport, OrdStatus
from domain.time import trade_date
from exchange.simulator.matching import events as happened
from exchange.simulator.matching.book import STOPS
from exchange.simulator.matching.ladder import Order

NO_ORDER = "NONE"
OrderReport = ExecutionReport | CancelRejected
_DAY_DIGITS = 8
_SIDE_LETTERS = "".join(side.value[0] for side in Side)


@dataclass(slots=True)
class BrokerOrder:
    """A broker's order: its latest report says where it stands."""

    session: str
    request: NewOrder
    """As first entered; the client code and the validity never change."""
    order: Order
    report: ExecutionReport


def number(now_ns: int, serial: int) -> str:
    """An OrderID or ExecID: the trading day, then a serial that is never used twice."""
    return f"{trade_date(now_ns):%Y%m%d}{serial:09d}"


def serial_of(number: str) -> int:
    """The serial of a number, 0 of no order's."""
    return 0 if number == NO_ORDER else int(number[_DAY_DIGITS:].rstrip(_SIDE_LETTERS))


def trade_side(trade_number: str, side: Side) -> str:
    """The ExecID of one side of a trade: the trade's number, alike on both sides, and the side."""
    return trade_number + side.value[0]


def other_side(exec_id: str) -> str:
    """The ExecID of the trade's other side."""
    side = Side.SELL if exec_id[-1] == Side.BUY.value[0] else Side.BUY
    return trade_side(exec_id[:-1], side)


def fresh_order(request: NewOrder, report: ExecutionReport) -> Order:
    return Order(
        serial_of(report.exchange_order_id),
        request.side,
        request.order_type,
        request.validity,
        request.quantity,
        request.price or 0,
        request.trigger_price or 0,
    )


def rejected(
    request: NewOrder, exec_id: str, order_id: str, reason: int | None, text: str | None, now_ns: int
) -> ExecutionReport:
    """A rejection; also the blank on which an accepted order's first report is written."""
    return ExecutionReport(
        exec_id=exec_id,
        exec_type=ExecType.REJECTED,
        ord_status=OrdStatus.REJECTED,
        cl_ord_id=request.cl_ord_id,
        orig_cl_ord_id=None,
        exchange_order_id=order_id,
        symbol=request.symbol,
        side=request.side,
        quantity=request.quantity,
        cumulative_quantity=0,
        leaves_quantity=0,
        last_quantity=0,
        last_price=0,
        price=request.price,
        trigger_price=request.trigger_price,
        stop=False,
        reject_reason=reason,
        text=text,
        transact_time_ns=now_ns,
    )


def present(entry: BrokerOrder, cl_ord_id: str, exec_id: str, now_ns: int) -> ExecutionReport:
    """The order's present state (ExecType I): an answer that changes nothing."""
    return replace(
        entry.report,
        exec_id=exec_id,
        exec_type=ExecType.ORDER_STATUS,
        cl_ord_id=cl_ord_id,
        last_quantity=0,
        last_price=0,
        transact_time_ns=now_ns,
        reference_exec_id=None,
    )


def unknown(request: StatusRequest, exec_id: str, now_ns: int) -> ExecutionReport:
    """The answer about an order that never was: ExecType I, OrdStatus 8, OrderID NONE."""
    terms = (OrderType.MARKET, Validity.DAY, None, None)
    never = NewOrder(request.cl_ord_id, "", request.symbol, request.side, 0, *terms, now_ns)
    text = "UNKNOWN_ORDER: the exchange has no such order"
    return replace(rejected(never, exec_id, NO_ORDER, None, text, now_ns), exec_type=ExecType.ORDER_STATUS)


def cancel_rejected(
    request: CancelOrder | ReplaceOrder, entry: BrokerOrder | None, reason: int, text: str
) -> CancelRejected:
    return CancelRejected(
        cl_ord_id=request.cl_ord_id,
        orig_cl_ord_id=request.orig_cl_ord_id,
        exchange_order_id=entry.report.exchange_order_id if entry else NO_ORDER,
        ord_status=entry.report.ord_status if entry else OrdStatus.REJECTED,
        response_to_replace=isinstance(request, ReplaceOrder),
        reject_reason=reason,
        text=text,
    )


def next_report(entry: BrokerOrder, event: happened.Event, leaves: int | None) -> ExecutionReport:
    """The order's next report, stamps aside."""
    last, order = entry.report, entry.order
    blank = replace(
        last,
        last_quantity=0,
        last_price=0,
        reject_reason=None,
        text=None,
        stop=False,
        reference_exec_id=None,
    )
    working = OrdStatus.PARTIALLY_FILLED if last.cumulative_quantity else OrdStatus.NEW
    match event:
        case happened.Accepted(_, stop):
            return replace(
                blank,
                exec_type=ExecType.NEW,
                ord_status=OrdStatus.NEW,
                stop=stop,
                leaves_quantity=order.quantity,
            )
        case happened.Triggered():
            return replace(blank, orig_cl_ord_id=None, exec_type=ExecType.TRIGGERED, ord_status=working)
        case happened.Traded(price, quantity):
            assert leaves is not None
            return replace(
                blank,
                exec_type=ExecType.TRADE,
                ord_status=OrdStatus.PARTIALLY_FILLED if leaves else OrdStatus.FILLED,
                cumulative_quantity=last.cumulative_quantity + quantity,
                leaves_quantity=leaves,
                last_quantity=quantity,
                last_price=price,
                orig_cl_ord_id=None,
            )
        case happened.Replaced(_, quantity, left, _):
            stop = order.order_type in STOPS
            return replace(
                blank,
                exec_type=ExecType.REPLACED,
                ord_status=working,
                stop=stop,
                quantity=quantity,
                leaves_quantity=left,
                price=order.price or None,
                trigger_price=order.trigger or None,
            )
        case happened.Repriced(_, price, left):
            return replace(
                blank,
                orig_cl_ord_id=None,
                exec_type=ExecType.RESTATED,
                ord_status=working,
                leaves_quantity=left,
                price=price,
            )
        case happened.Cancelled():
            return replace(
                blank, exec_type=ExecType.CANCELLED, ord_status=OrdStatus.CANCELLED, leaves_quantity=0
            )
        case _:
            return replace(blank, exec_type=ExecType.EXPIRED, ord_status=OrdStatus.EXPIRED, leaves_quantity=0)
