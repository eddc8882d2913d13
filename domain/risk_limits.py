"""What one account may risk: the value of an order, the position in an instrument, the exposure of all.

Exposure is the value of intraday and derivative positions and of pending orders that would open them;
delivery is paid in full and is none. What only reduces is never refused by a position or exposure limit.
Amounts in paise, quantities in units. Called by storage/risk_gate.py; the limits themselves are rows
(risk_limits).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.money import rupees
from domain.orders import OrderTerms, Product
from domain.rejects import Refusal, RejectCode


@dataclass(frozen=True, slots=True)
class RiskLimits:
    exposure: int
    position: int
    """Units of one instrument, either side."""
    order_value: int


NOTHING = RiskLimits(0, 0, 0)
"""Where no limits are known, nothing may be risked."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What an order would add, beside what its account risks already."""

    price: int
    """At which its margin was blocked."""
    lot_size: int
    open_quantity: int
    """The part that opens a position."""
    position: int
    """Net units on the order's side, with what its pending orders on that side may add."""
    exposure: int
    """Of the account, before this order."""

    @property
    def added_exposure(self) -> int:
        return self.open_quantity * self.price


def limit_refusals(limits: RiskLimits, terms: OrderTerms, risk: Risk) -> Iterator[Refusal]:
    """Every limit that the order would pass, by precedence, with the nearest quantity that would not."""
    value = terms.quantity * risk.price
    if value > limits.order_value:
        nearest = _whole_lots(limits.order_value // risk.price, risk.lot_size)
        limit = rupees(limits.order_value)
        yield Refusal(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "quantity", limit, str(nearest))
    if terms.product is Product.CNC or not risk.open_quantity:
        return
    if risk.position + terms.quantity > limits.position:
        nearest = _whole_lots(limits.position - risk.position, risk.lot_size)
        yield Refusal(RejectCode.POSITION_LIMIT_EXCEEDED, "quantity", str(limits.position), str(nearest))
    if risk.exposure + risk.added_exposure > limits.exposure:
        closing = terms.quantity - risk.open_quantity
        nearest = closing + _whole_lots((limits.exposure - risk.exposure) // risk.price, risk.lot_size)
        limit = rupees(limits.exposure)
        yield Refusal(RejectCode.EXPOSURE_LIMIT_EXCEEDED, "quantity", limit, str(nearest))


def _whole_lots(quantity: int, lot_size: int) -> int:
    return max(0, quantity // lot_size * lot_size)
