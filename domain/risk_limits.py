"""What one account may risk: the value of an order, the position in a contract, the exposure of all.

Exposure is the value of intraday and derivative positions and of pending orders that would open them;
delivery is paid in full and is none. What can be lost by an option bought is its premium, so it counts at
that; an option sold counts like the underlying it obliges to, as the exchanges count it. A short counts at
the market where its limit is below. The position is the contract's, whatever the product, and what only
reduces is never refused by a position or exposure limit. Amounts in paise, quantities in units. Called by
storage/risk/risk_gate.py; the limits themselves are rows (risk_limits).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.money import rupees
from domain.nearest import agreed
from domain.orders import OrderTerms, Product
from domain.rejects import Refusal, RejectCode


@dataclass(frozen=True, slots=True)
class RiskLimits:
    exposure: int
    position: int
    """Units of one instrument, either side, of all products together."""
    order_value: int


NOTHING = RiskLimits(0, 0, 0)
"""Where no limits are known, nothing may be risked."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What an order would add, beside what its account risks already."""

    open_price: int
    """What a unit that opens a position counts at: the price of its margin; of an option sold, the
    underlying's."""
    close_price: int
    """What a unit that closes one counts at: the order's own price."""
    lot_size: int
    open_quantity: int
    """The part that opens a position."""
    position: int
    """Units held on the order's side, in any product, with what pending orders on that side may add."""
    exposure: int
    """Of the account, before this order."""

    @property
    def added_exposure(self) -> int:
        return self.open_quantity * self.open_price


def limit_refusals(limits: RiskLimits, terms: OrderTerms, risk: Risk) -> list[Refusal]:
    """Every limit that the order would pass, by precedence, with the nearest quantity that passes none."""
    return agreed(list(_passed(limits, terms, risk)))


def _passed(limits: RiskLimits, terms: OrderTerms, risk: Risk) -> Iterator[Refusal]:
    """The same, each limit alone."""
    closing = terms.quantity - risk.open_quantity
    if closing * risk.close_price + risk.added_exposure > limits.order_value:
        nearest = _nearest_in_value(limits.order_value, closing, risk)
        limit = rupees(limits.order_value)
        yield Refusal(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "quantity", limit, str(nearest))
    if terms.product is Product.CNC or not risk.open_quantity:
        return
    if risk.position + risk.open_quantity > limits.position:
        nearest = closing + _whole_lots(limits.position - risk.position, risk.lot_size)
        yield Refusal(RejectCode.POSITION_LIMIT_EXCEEDED, "quantity", str(limits.position), str(nearest))
    if risk.exposure + risk.added_exposure > limits.exposure:
        free = limits.exposure - risk.exposure
        nearest = closing + _whole_lots(free // risk.open_price, risk.lot_size)
        limit = rupees(limits.exposure)
        yield Refusal(RejectCode.EXPOSURE_LIMIT_EXCEEDED, "quantity", limit, str(nearest))


def _nearest_in_value(limit: int, closing: int, risk: Risk) -> int:
    """The most units that are worth no more; those that close come first."""
    left = limit - closing * risk.close_price
    if left < 0:
        return _whole_lots(limit // risk.close_price, risk.lot_size)
    return closing + _whole_lots(left // risk.open_price, risk.lot_size)


def _whole_lots(quantity: int, lot_size: int) -> int:
    return max(0, quantity // lot_size * lot_size)
