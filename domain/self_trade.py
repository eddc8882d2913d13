"""Whether two orders of one client could trade with each other: what self-trade prevention asks.

A stop that waits is met only by an order between its trigger and its limit: what lies nearer to the market
has traded before the trigger is reached, what lies beyond its limit it never pays. Two stops that wait are on
either side of the market, and the one released first has left it before the other is reached. Paise.
"""

from dataclasses import dataclass

from domain.orders import Side


@dataclass(frozen=True, slots=True)
class Terms:
    """One side of a meeting, as it is or may be in the exchange's book."""

    side: Side
    price: int | None
    """The limit; None: any price."""
    trigger: int | None = None
    """Of a stop that waits."""


def may_meet(one: Terms, other: Terms) -> bool:
    """Whether they could trade with each other, whichever comes first."""
    if one.side is other.side or (one.trigger is not None and other.trigger is not None):
        return False
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    if buy.price is not None and sell.price is not None and buy.price < sell.price:
        return False
    stop, rest = (one, other) if one.trigger is not None else (other, one)
    if stop.trigger is None or rest.price is None:
        return True
    return stop.side.sign * (rest.price - stop.trigger) >= 0
