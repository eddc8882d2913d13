"""What we ask the exchange, as FIX fields and back: new order (D), cancel (F), replace (G).

Called by exchange/fix/codec.py only.
"""

from domain.instructions import CancelOrder, NewOrder, ReplaceOrder
from domain.orders import OrderType, Side, Validity
from exchange.fix import fields as f
from exchange.fix.fields import FieldReader, Fields, FixVersion


def new_order(order: NewOrder, version: FixVersion) -> Fields:
    yield 11, order.cl_ord_id
    yield 1, order.client_code
    yield 21, "1"
    yield 55, order.symbol
    yield 54, f.SIDE[order.side]
    yield from _terms(order, version)


def cancel(cancel: CancelOrder, version: FixVersion) -> Fields:
    yield 41, cancel.orig_cl_ord_id
    yield 11, cancel.cl_ord_id
    yield 55, cancel.symbol
    yield 54, f.SIDE[cancel.side]
    yield 60, f.time(cancel.transact_time_ns, version)
    yield 38, str(cancel.quantity)


def replace(replace: ReplaceOrder, version: FixVersion) -> Fields:
    yield 41, replace.orig_cl_ord_id
    yield 11, replace.cl_ord_id
    yield 21, "1"
    yield 55, replace.symbol
    yield 54, f.SIDE[replace.side]
    yield from _terms(replace, version)


def _terms(order: NewOrder | ReplaceOrder, version: FixVersion) -> Fields:
    yield 60, f.time(order.transact_time_ns, version)
    yield 38, str(order.quantity)
    yield 40, f.ORDER_TYPE[order.order_type]
    yield from f.price_field(44, order.price)
    yield from f.price_field(99, order.trigger_price)
    yield 59, f.time_in_force(order.validity)


def read_new_order(reader: FieldReader) -> NewOrder:
    return NewOrder(reader.text(11), reader.text(1), *_read_terms(reader))


def read_cancel(reader: FieldReader) -> CancelOrder:
    return CancelOrder(
        cl_ord_id=reader.text(11),
        orig_cl_ord_id=reader.text(41),
        symbol=reader.text(55),
        side=reader.side(),
        quantity=reader.quantity(38),
        transact_time_ns=reader.time(60),
    )


def read_replace(reader: FieldReader) -> ReplaceOrder:
    return ReplaceOrder(reader.text(11), reader.text(41), *_read_terms(reader))


def _read_terms(
    reader: FieldReader,
) -> tuple[str, Side, int, OrderType, Validity, int | None, int | None, int]:
    """From the symbol to the time: what a new order and a replacement both end with."""
    return (
        reader.text(55),
        reader.side(),
        reader.quantity(38),
        reader.order_type(),
        reader.validity(),
        reader.optional_price(44),
        reader.optional_price(99),
        reader.time(60),
    )
