"""An order's hold beside what the exchange may still fill of it.

Everything the exchange may fill must be held, and nothing else: the quantity that it last said is open, or
that it was sent; while a change is unanswered the larger of both quantities, at the dearer price. A price on
the wire bounds a purchase from above and a sale from below, so a sale's margin may lie between its limit and
what the house has reckoned as its dearest price. Called by the reconciliation.
"""

from dataclasses import dataclass

from domain.instruments import InstrumentKind
from domain.margin import unit_margin
from domain.money import rupees
from domain.orders import OrderType, Product, Side
from domain.validation import PRICED


@dataclass(frozen=True, slots=True)
class OrderAtExchange:
    """As the journals have it, every report booked; prices in paise."""

    order_id: int
    user_id: int
    kind: InstrumentKind
    product: Product
    side: Side
    order_type: OrderType
    """As the client gave it."""
    open_quantity: int
    """What the exchange may fill by its last word; 0 for what is final or never leaves."""
    price: int | None
    """On the wire, of the last request that was accepted."""
    changed_quantity: int | None
    """What would be open by a change that is not answered; None without one."""
    changed_price: int | None
    held: int
    """Quantity in the hold."""
    unit: int
    """Margin of a share in the hold."""
    dearest: int
    """The dearest price that the house has reckoned with."""


def hold_fault(order: OrderAtExchange, intraday_percent: int) -> str | None:
    """What is wrong with the hold, for a person; None when it is as it must be."""
    may_fill = max(order.open_quantity, order.changed_quantity or 0)
    if order.held != may_fill:
        return f"The exchange may fill {may_fill} of order {order.order_id}; margin is held for {order.held}."
    if not may_fill:
        return None
    least, most = _bounds(order, intraday_percent)
    if not least <= order.unit <= most:
        needed = rupees(least) if least == most else f"{rupees(least)} to {rupees(most)}"
        held = rupees(order.unit)
        return f"Each unit of order {order.order_id} needs Rs {needed} of margin; Rs {held} are held."
    return None


def _bounds(order: OrderAtExchange, intraday_percent: int) -> tuple[int, int]:
    """Least and most margin of a unit."""

    def margin(price: int) -> int:
        return unit_margin(order.kind, order.product, order.side, price, intraday_percent) or 0

    prices = [price for price in (order.price, order.changed_price) if price is not None]
    least = max(map(margin, prices), default=0)
    # What a priced purchase pays at most is on the wire.
    exact = order.side is Side.BUY and order.order_type in PRICED
    return least, least if exact else max(least, margin(order.dearest))
