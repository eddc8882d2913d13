"""What we owe the exchange: the four requests of the outbox, as domain values.

The FIX codec (exchange/fix/codec.py) turns them into NewOrderSingle (D), OrderCancelRequest (F),
OrderCancelReplaceRequest (G) and OrderStatusRequest (H). Prices in paise, times in nanoseconds.
"""

from dataclasses import dataclass

from domain.orders import OrderType, Side, Validity

_CANCEL = "-c"


def cancel_id(order_id: int, number: int) -> str:
    """ClOrdID (11) of an order's n-th cancel request."""
    return f"{order_id}{_CANCEL}{number}"


def asks_cancel(cl_ord_id: str) -> bool:
    """Whether a request of this ClOrdID is a cancel; a report under another tells what nobody asked for."""
    return _CANCEL in cl_ord_id


@dataclass(frozen=True, slots=True)
class NewOrder:
    """FIX D. `cl_ord_id` (11) is the order id itself, so a repeat can never be a second order."""

    cl_ord_id: str
    client_code: str
    """Account (1): the unique client code."""
    symbol: str
    """Symbol (55), without the exchange prefix."""
    side: Side
    quantity: int
    order_type: OrderType
    validity: Validity
    price: int | None
    trigger_price: int | None
    transact_time_ns: int


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """FIX F. `orig_cl_ord_id` (41) names the last accepted request of the order."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: Side
    quantity: int
    transact_time_ns: int


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """FIX G. `quantity` is the new total; priority is kept only when it falls and nothing else changes."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    validity: Validity
    price: int | None
    trigger_price: int | None
    transact_time_ns: int


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """FIX H: what became of this order? Asked when a send's outcome was not seen."""

    cl_ord_id: str
    symbol: str
    side: Side


Instruction = NewOrder | CancelOrder | ReplaceOrder | StatusRequest
