"""A change of an order: gates in order of precedence, and a hold that covers whichever terms trade."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.changes import CHANGES_MOST, Change, change_refusals, envelope, phase_refusal, settled
from domain.margin import Hold
from domain.orders import OrderType, Side
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from tests.support.builders import an_instrument, some_terms

TODAY = date(2026, 11, 23)
CHANGEABLE = {
    MarketPhase.PRE_OPEN_ENTRY,
    MarketPhase.PRE_OPEN_LIMIT,
    MarketPhase.CONTINUOUS,
    MarketPhase.CLOSING_AUCTION,
    MarketPhase.CLOSING_AUCTION_LIMIT,
    MarketPhase.POST_CLOSE,
}


def codes(change: Change, filled: int = 0, changes: int = 0, **terms: Any) -> list[str]:
    found = change_refusals(some_terms(**terms), change, filled, changes, an_instrument(), TODAY)
    return [refusal.code.value for refusal in found]


@pytest.mark.parametrize(
    ("change", "filled", "changes", "expected"),
    [
        (Change(quantity=50), 0, 0, []),
        (Change(price=245100), 40, CHANGES_MOST - 1, []),
        (Change(), 0, 0, ["NOTHING_TO_CHANGE"]),
        (Change(price=245050, quantity=100), 0, 0, ["NOTHING_TO_CHANGE"]),
        (Change(quantity=40), 40, 0, ["QUANTITY_BELOW_FILLED"]),
        (Change(quantity=0), 40, 0, ["QUANTITY_NOT_POSITIVE"]),
        (Change(quantity=20_000), 0, 0, ["QUANTITY_ABOVE_FREEZE"]),
        (Change(price=245055), 0, CHANGES_MOST, ["PRICE_NOT_TICK_MULTIPLE", "CHANGE_LIMIT_REACHED"]),
        (Change(trigger_price=245000), 0, 0, ["TRIGGER_PRICE_NOT_ALLOWED"]),
    ],
)
def test_a_change_passes_the_gates_of_a_new_order_and_its_own(
    change: Change, filled: int, changes: int, expected: list[str]
) -> None:
    assert codes(change, filled, changes) == expected


def test_a_market_order_cannot_be_changed() -> None:
    assert codes(Change(quantity=5), order_type=OrderType.MARKET, price=None) == ["ORDER_TYPE_NOT_SUPPORTED"]


@pytest.mark.parametrize("phase", MarketPhase)
def test_a_phase_lets_limit_orders_be_changed_or_says_that_it_does_not(phase: MarketPhase) -> None:
    refused = None if phase in CHANGEABLE else Refusal(RejectCode.MARKET_CLOSED, limit=phase.value)
    assert phase_refusal(some_terms(), phase) == refused
    assert phase_refusal(some_terms(), None) == Refusal(RejectCode.MARKET_PHASE_UNKNOWN)


@given(
    opening=st.integers(0, 1000),
    closing=st.integers(0, 1000),
    filled=st.integers(0, 1000),
    unit=st.integers(0, 10**6),
    new_unit=st.integers(0, 10**6),
    more=st.integers(-999, 1000),
)
def test_the_envelope_covers_the_order_before_and_after(
    opening: int, closing: int, filled: int, unit: int, new_unit: int, more: int
) -> None:
    hold = Hold(Side.BUY, "NSE:RELIANCE|MIS", True, unit, opening, closing)
    quantity = filled + max(1, opening + closing + more)
    during, after = envelope(hold, new_unit, quantity, filled), settled(hold, new_unit, quantity, filled)
    assert during.blocked >= max(hold.blocked, after.blocked)
    assert during.close_quantity == closing
    assert after.open_quantity + after.close_quantity == quantity - filled
    assert settled(during, unit, filled + opening + closing, filled) == hold
    assert settled(during, new_unit, quantity, filled) == after
