"""What processes agree on about the workflows: queue, ids, search attributes, message names."""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from domain.money import rupees
from domain.orders import OrderStatus, OrderType, PlacedOrder
from domain.time import trade_date

ORDER_QUEUE = "orders"
ORDER_WORKFLOW = "OrderWorkflow"
LATE_REPORTS_WORKFLOW = "LateReportsWorkflow"
"""Books what the exchange says of an order whose story is over: a trade taken back, or put right."""
OPERATIONS_QUEUE = "operations"
"""What is done by the clock or for the risk desk: reconciliation, square-off, winding down, day roll. In a
namespace of its own, `temporal_operations_namespace`."""
WIND_DOWN_WORKFLOW = "WindDownWorkflow"
SQUARE_OFF_WORKFLOW = "SquareOffWorkflow"
RECONCILIATION_WORKFLOW = "ReconciliationWorkflow"
DAY_ROLL_WORKFLOW = "DayRollWorkflow"
CANCEL = "cancel"
"""Update of earlier versions, which asked the story; cancels are in SQL since
(storage/orders/cancellations.py)."""
CHANGE = "change"
"""Update: a client's change of price, quantity or trigger, and the request's number; answers whether it is
asked, refused once the order is finished."""
EXCHANGE_REPORTS = "exchange_reports"
"""Signal: reports of this order were journaled, or it was withdrawn; carries a sentence for each."""

USER_ID = SearchAttributeKey.for_keyword("UserId")
INSTRUMENT_ID = SearchAttributeKey.for_keyword("InstrumentId")
ORDER_STATUS = SearchAttributeKey.for_keyword("OrderStatus")
PRODUCT = SearchAttributeKey.for_keyword("Product")
SIDE = SearchAttributeKey.for_keyword("Side")
EXCHANGE_ORDER_ID = SearchAttributeKey.for_keyword("ExchangeOrderId")
REJECT_CODE = SearchAttributeKey.for_keyword("RejectCode")
TRADE_DATE = SearchAttributeKey.for_keyword("TradeDate")


def order_workflow_id(order_id: int) -> str:
    return f"order-{order_id}"


def late_reports_id(order_id: int) -> str:
    return f"order-{order_id}-late-reports"


def wind_down_id(about: str, asked_at_ns: int) -> str:
    return f"wind-down-{about}-{asked_at_ns}"


def square_off_id(exchange: str, session_class: str) -> str:
    """Of every day: one that makes up for another day does not run beside it."""
    return f"square-off-{exchange}-{session_class}"


def search_attributes(placed: PlacedOrder) -> TypedSearchAttributes:
    """What support looks an order up by, from its start."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(USER_ID, str(placed.user_id)),
            SearchAttributePair(INSTRUMENT_ID, placed.terms.instrument_id),
            SearchAttributePair(ORDER_STATUS, OrderStatus.PENDING_VALIDATION),
            SearchAttributePair(PRODUCT, placed.terms.product),
            SearchAttributePair(SIDE, placed.terms.side),
            SearchAttributePair(TRADE_DATE, trade_date(placed.accepted_at_ns).isoformat()),
        ]
    )


def summary(placed: PlacedOrder) -> str:
    """`BUY 100 NSE:RELIANCE LIMIT 2450.50 CNC`."""
    terms = placed.terms
    price = "" if terms.order_type is OrderType.MARKET or terms.price is None else f" {rupees(terms.price)}"
    return f"{terms.side} {terms.quantity} {terms.instrument_id} {terms.order_type}{price} {terms.product}"
