"""What the matching engine did, one value an effect, in the order in which it happened.

Each event stands for itself: quantities are those after the event, so that a reader needs no book.
Prices in paise. Made by exchange/simulator/matching/book.py, turned into execution reports by venue.py.
"""

from typing import NamedTuple


class Accepted(NamedTuple):
    order_id: int
    stop: bool
    """Waits for its trigger."""


class Triggered(NamedTuple):
    order_id: int


class Traded(NamedTuple):
    """One match, at the resting order's price; in an auction at its one price, the seller as resting."""

    price: int
    quantity: int
    aggressor_id: int
    aggressor_leaves: int
    resting_id: int
    resting_leaves: int


class Cancelled(NamedTuple):
    """By request, or what an IOC or an unpriced order could not trade."""

    order_id: int
    quantity: int
    """Left unfilled."""


class Replaced(NamedTuple):
    order_id: int
    quantity: int
    """The new total."""
    leaves: int
    kept_priority: bool


class Repriced(NamedTuple):
    """A market order that the auction left over: from here on a limit order."""

    order_id: int
    price: int
    leaves: int


class Expired(NamedTuple):
    order_id: int
    quantity: int


class Refused(NamedTuple):
    """A cancel or replace that cannot be; `reason` is FIX CxlRejReason (102)."""

    order_id: int
    reason: int
    text: str


Event = Accepted | Triggered | Traded | Cancelled | Replaced | Repriced | Expired | Refused

TOO_LATE = 0
UNKNOWN_ORDER = 1
