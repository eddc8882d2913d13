"""Average-price accounting on hand-computed cases, and conservation of money under any trades."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders import Side
from domain.positions import Holding, Position

TRADES = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 500), st.integers(1, 10**6)), min_size=1, max_size=30
)


def test_a_partial_exit_realises_its_part_and_leaves_the_rest_at_cost() -> None:
    position = Position().traded(Side.BUY, 10, 100_00).traded(Side.SELL, 4, 110_00)
    assert (position.net_quantity, position.open_cost, position.realized_pnl) == (6, 600_00, 40_00)
    assert position.unrealized_pnl(105_00) == 30_00


def test_a_short_closed_lower_is_a_profit() -> None:
    position = Position().traded(Side.SELL, 10, 100_00).traded(Side.BUY, 4, 90_00)
    assert (position.net_quantity, position.open_cost, position.realized_pnl) == (-6, -600_00, 40_00)
    assert position.unrealized_pnl(95_00) == 30_00


def test_a_trade_through_zero_closes_one_side_and_opens_the_other_at_its_price() -> None:
    position = Position().traded(Side.BUY, 10, 100_00).traded(Side.SELL, 15, 90_00)
    assert (position.net_quantity, position.open_cost, position.realized_pnl) == (-5, -450_00, -100_00)


def test_close_and_reopen_keeps_the_realised_profit_apart() -> None:
    position = Position().traded(Side.BUY, 10, 100_00).traded(Side.SELL, 10, 120_00)
    reopened = position.traded(Side.BUY, 10, 130_00)
    assert (reopened.realized_pnl, reopened.unrealized_pnl(131_00)) == (200_00, 10_00)


@given(trades=TRADES, last=st.integers(1, 10**6))
def test_realised_and_unrealised_are_all_the_money_there_is(
    trades: list[tuple[Side, int, int]], last: int
) -> None:
    position = Position()
    for side, quantity, price in trades:
        position = position.traded(side, quantity, price)
    flows = position.sell_value - position.buy_value
    worth = position.net_quantity * last
    assert position.realized_pnl + position.unrealized_pnl(last) == flows + worth


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 10**6)), min_size=1, max_size=20), st.data())
def test_a_holding_never_loses_a_paisa_of_cost(buys: list[tuple[int, int]], data: st.DataObject) -> None:
    holding, realised, proceeds = Holding(), 0, 0
    for quantity, price in buys:
        holding, profit = holding.bought(quantity, price)
        assert profit == 0
    paid = holding.cost
    while holding.quantity and data.draw(st.booleans()):
        quantity = data.draw(st.integers(1, holding.quantity))
        price = data.draw(st.integers(1, 10**6))
        holding = Holding(holding.quantity, holding.t1_quantity, quantity, holding.cost)
        holding, profit = holding.sold(quantity, price)
        realised, proceeds = realised + profit, proceeds + quantity * price
    assert proceeds - realised + holding.cost == paid
    assert 0 <= holding.t1_quantity <= holding.quantity
    assert holding.quantity or holding.cost == 0


def test_more_than_was_blocked_cannot_be_sold() -> None:
    with pytest.raises(ValueError, match="blocked"):
        Holding(10, 0, 3, 1000).sold(4, 100)
