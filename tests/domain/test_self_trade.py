"""Which two orders of a client could trade with each other."""

import pytest

from domain.orders import Side
from domain.self_trade import Terms, may_meet

BUY, SELL = Side.BUY, Side.SELL
MEETINGS = {
    "the same side": (Terms(BUY, 100), Terms(BUY, 100), False),
    "prices apart": (Terms(BUY, 99), Terms(SELL, 100), False),
    "the same price": (Terms(BUY, 100), Terms(SELL, 100), True),
    "prices that cross": (Terms(BUY, 101), Terms(SELL, 100), True),
    "a market order in a call": (Terms(BUY, None), Terms(SELL, 100), True),
    "two market orders in a call": (Terms(BUY, None), Terms(SELL, None), True),
    "a stop below, a purchase between trigger and limit": (Terms(SELL, 94, 95), Terms(BUY, 95), True),
    "a stop below, a purchase at its limit": (Terms(SELL, 94, 95), Terms(BUY, 94), True),
    "a stop below, a purchase beyond its limit": (Terms(SELL, 94, 95), Terms(BUY, 93), False),
    "a stop below, a purchase nearer to the market": (Terms(SELL, 94, 95), Terms(BUY, 96), False),
    "a stop above, a sale between trigger and limit": (Terms(BUY, 107, 105), Terms(SELL, 106), True),
    "a stop above, a sale nearer to the market": (Terms(BUY, 107, 105), Terms(SELL, 104), False),
    "a stop above, a sale beyond its limit": (Terms(BUY, 107, 105), Terms(SELL, 108), False),
    "a stop on either side of the market": (Terms(BUY, 106, 105), Terms(SELL, 94, 95), False),
    "a stop, a market order in a call": (Terms(SELL, 94, 95), Terms(BUY, None), True),
}


@pytest.mark.parametrize(("one", "other", "expected"), MEETINGS.values(), ids=MEETINGS)
def test_two_orders_meet_whichever_comes_first(one: Terms, other: Terms, expected: bool) -> None:
    assert may_meet(one, other) is expected
    assert may_meet(other, one) is expected
