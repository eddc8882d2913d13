"""The kill switch as a table: every state x kind of order; the strictest decides, the widest is named."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from domain.margin import Block, BlockOutcome
from domain.orders import OrderType, Product, Side
from domain.rejects import RejectCode
from domain.trading_states import (
    Cause,
    Scope,
    Standing,
    TradingState,
    enlarges,
    keys_of,
    reduces,
    state_refusal,
    surely_opens,
)
from tests.support.builders import some_terms

KINDS = {
    "buys for delivery": (Product.CNC, Side.BUY, 10, 0),
    "sells held shares": (Product.CNC, Side.SELL, 10, 0),
    "opens intraday": (Product.MIS, Side.BUY, 10, 0),
    "opens short": (Product.MIS, Side.SELL, 10, 0),
    "closes intraday": (Product.MIS, Side.SELL, 0, 10),
    "covers a short": (Product.NRML, Side.BUY, 0, 10),
    "turns a position around": (Product.NRML, Side.SELL, 4, 6),
}
REDUCING = {"sells held shares", "closes intraday", "covers a short"}


def opens(kind: str) -> bool:
    product_, side, open_quantity, close_quantity = KINDS[kind]
    block = Block(BlockOutcome.BLOCKED, open_quantity, close_quantity, 1, 100, 1)
    return not reduces(some_terms(product=product_, side=side, quantity=10), block)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", Scope)
def test_each_state_lets_through_what_it_says(scope: Scope, kind: str) -> None:
    halted = {
        Scope.ALL: RejectCode.TRADING_HALTED,
        Scope.SEGMENT: RejectCode.SEGMENT_HALTED,
        Scope.INSTRUMENT: RejectCode.INSTRUMENT_HALTED,
        Scope.USER: RejectCode.USER_FROZEN,
    }[scope]
    expected = {
        TradingState.ACTIVE: None,
        TradingState.REDUCING: None if kind in REDUCING else RejectCode.REDUCE_ONLY,
        TradingState.HALTED: halted,
    }
    for state, code in expected.items():
        refusal = state_refusal([Standing(scope, Cause.DESK, state)], opens=opens(kind))
        assert (refusal.code if refusal else None) is code, state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cause", Cause)
def test_the_house_closes_for_whom_the_desk_has_halted_and_not_in_a_halted_market(
    cause: Cause, kind: str
) -> None:
    halt = [Standing(Scope.USER, cause, TradingState.HALTED)]
    refusal = state_refusal(halt, opens=opens(kind), by_house=True)
    if cause is Cause.CIRCUIT:
        assert refusal is not None and refusal.code is RejectCode.USER_FROZEN
    elif kind in REDUCING:
        assert refusal is None
    else:
        assert refusal is not None and refusal.code is RejectCode.REDUCE_ONLY


def test_of_several_states_the_strictest_decides_and_the_widest_is_named() -> None:
    for first, second in product(Scope, Scope):
        both = [
            Standing(first, Cause.DESK, TradingState.REDUCING),
            Standing(second, Cause.LIMITS, TradingState.HALTED),
        ]
        refusal = state_refusal(both, opens=False)
        alone = state_refusal(both[1:], opens=False)
        assert refusal == alone is not None
    everything = [Standing(scope, Cause.DESK, TradingState.HALTED) for scope in reversed(Scope)]
    refusal = state_refusal(everything, opens=False)
    assert refusal is not None and refusal.code is RejectCode.TRADING_HALTED


def test_before_the_books_are_asked_only_a_delivery_purchase_surely_opens() -> None:
    sure = {kind for kind, (p, side, _, _) in KINDS.items() if surely_opens(some_terms(product=p, side=side))}
    assert sure == {"buys for delivery"}


def test_an_order_is_found_under_each_of_its_scopes() -> None:
    assert keys_of(7, "NSE:TCS31DECFUT", "FO") == [
        "all",
        "segment:NSE:FO",
        "instrument:NSE:TCS31DECFUT",
        "user:7",
    ]


@pytest.mark.parametrize(
    ("order", "changed", "more"),
    [
        ({}, {"quantity": 99}, False),
        ({}, {"quantity": 101}, True),
        ({}, {"price": 245000}, False),
        ({}, {"price": 245100}, True),
        ({"side": Side.SELL}, {"quantity": 99}, False),
        ({"side": Side.SELL}, {"price": 245000}, True),
        ({"side": Side.SELL}, {"price": 245100}, True),
        ({"order_type": OrderType.SL, "trigger_price": 245000}, {"trigger_price": 244000}, True),
        (
            {"order_type": OrderType.SL_M, "price": None, "trigger_price": 245000},
            {"trigger_price": 246000},
            True,
        ),
        ({"order_type": OrderType.SL_M, "price": None, "trigger_price": 245000}, {"quantity": 1}, False),
    ],
)
def test_a_change_enlarges_unless_it_only_takes_away(
    order: dict[str, Any], changed: dict[str, Any], more: bool
) -> None:
    terms = some_terms(**order)
    assert enlarges(terms, replace(terms, **changed)) is more
