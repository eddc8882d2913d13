"""Winding down: pending orders are cancelled first, then positions are closed by orders of the house.

One selection serves the risk desk's freeze and the intraday square-off. Closing orders are market orders,
each at most the freeze quantity, that together are exactly the net quantity. Called by
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


@dataclass(frozen=True, slots=True)
class WindDown:
    """What is to be done, who wants it, and the name under which each closing order is placed once."""

    selection: Selection
    purpose: str
    actor: str
    reason: str
    flatten: bool
    """Close positions when nothing is pending any more."""


@dataclass(frozen=True, slots=True)
class OpenPosition:
    user_id: int
    instrument_id: str
    product: Product
    net_quantity: int


def closing_orders(position: OpenPosition, instrument: Instrument) -> Iterator[OrderTerms]:
    """Market orders that close the position."""
    side = Side.SELL if position.net_quantity > 0 else Side.BUY
    for quantity in slices(abs(position.net_quantity), instrument):
        yield OrderTerms(
            position.instrument_id, OrderType.MARKET, side, position.product, Validity.DAY, quantity
        )
