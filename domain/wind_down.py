"""Winding down: pending orders are cancelled first, then positions are closed by orders of the house.

One selection serves the risk desk's freeze and the intraday square-off. Closing orders are market orders,
each at most the freeze quantity, that together are exactly what no order is closing yet. Called by
activities/wind_down.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.instruments import Instrument
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.slicing import slices


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose orders and positions; what is None does not narrow it down."""

    user_id: int | None = None
    instrument_id: str | None = None
    exchange: str | None = None
    segment: str | None = None
    session_class: str | None = None
    product: str | None = None
    carried_before_ns: int | None = None
    """Only what of a position was open then and is still; no orders, a day's orders expired with it."""


@dataclass(frozen=True, slots=True)
class WindDown:
    """What is to be done, who wants it, and the name under which each closing order is placed once."""

    selection: Selection
    purpose: str
    actor: str
    reason: str
    flatten: bool
    """Close positions when nothing is pending any more."""
    rounds: int = 3
    """How often what is left is closed again."""


@dataclass(frozen=True, slots=True)
class OpenPosition:
    user_id: int
    instrument_id: str
    product: Product
    net_quantity: int
    closing_quantity: int = 0
    """What orders on their way will close, if they trade: until the books have it, nobody knows that they
    have not."""

    @property
    def uncovered(self) -> int:
        """What no order is closing."""
        return max(0, abs(self.net_quantity) - self.closing_quantity)


def closing_orders(position: OpenPosition, instrument: Instrument) -> Iterator[OrderTerms]:
    """Market orders that close what no other order is closing."""
    side = Side.SELL if position.net_quantity > 0 else Side.BUY
    for quantity in slices(position.uncovered, instrument) if position.uncovered else ():
        yield OrderTerms(
            position.instrument_id, OrderType.MARKET, side, position.product, Validity.DAY, quantity
        )
