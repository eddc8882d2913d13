"""Average-price accounting on hand-computed cases, and conservation of money under any trades."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import paise
from domain.orders import Side
from domain.positions import Holding, Position, unrealized_pnl

TRADES = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 500), st.integers(1, 10**6)), min_size=1, max_size=30
)


def amount(text: str) -> int:
    return paise(text if "." in text else f"{text}.00")


def worked_examples() -> list[tuple[str, ...]]:
    """The rows of the table that docs/pnl.md works out by hand."""
    page = (Path(__file__).parents[2] / "docs" / "pnl.md").read_text()
    table = page.partition("## By hand")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in table.splitlines()]
    return [row for row in rows if row and " at " in row[0]]


def trades_of(text: str) -> list[tuple[Side, int, int]]:
    found = re.findall(r"(buy|sell) (\d+) at ([\d.]+)", text)
    return [(Side(side.upper()), int(quantity), amount(price)) for side, quantity, price in found]


EXAMPLES = worked_examples()
FIGURES = ("trades", "net", "cost", "realised", "last", "unrealised")


def test_the_page_works_out_each_rule() -> None:
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize(FIGURES, EXAMPLES)
def test_the_books_reckon_as_the_page_does_by_hand(
    trades: str, net: str, cost: str, realised: str, last: str, unrealised: str
) -> None:
    yesterday, _, today = trades.rpartition("; today")
    position = Position()
    for trade in trades_of(yesterday):
        position = position.traded(*trade)
    before = position.realized_pnl
    for trade in trades_of(today):
        position = position.traded(*trade)
    assert (position.net_quantity, position.open_cost) == (int(net), amount(cost))
    assert position.realized_pnl - before == amount(realised), "of the day"
    assert position.unrealized_pnl(amount(last)) == amount(unrealised)


@pytest.mark.parametrize(FIGURES, [example for example in EXAMPLES if int(example[1]) > 0])
def test_a_holding_is_reckoned_like_a_position_that_is_never_short(
    trades: str, net: str, cost: str, realised: str, last: str, unrealised: str
) -> None:
    holding, of_the_day = Holding(), 0
    for day in trades.split("; today"):
        of_the_day = 0
        for side, quantity, price in trades_of(day):
            if side is Side.BUY:
                holding, profit = holding.bought(quantity, price)
                assert profit == 0
            else:
                holding, profit = replace(holding, blocked_quantity=quantity).sold(quantity, price, quantity)
                of_the_day += profit
    assert (holding.quantity, holding.cost, of_the_day) == (int(net), amount(cost), amount(realised))
    assert unrealized_pnl(holding.quantity, holding.cost, amount(last)) == amount(unrealised)


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
        holding, profit = holding.sold(quantity, price, quantity)
        realised, proceeds = realised + profit, proceeds + quantity * price
    assert proceeds - realised + holding.cost == paid
    assert 0 <= holding.t1_quantity <= holding.quantity
    assert holding.quantity or holding.cost == 0


def test_what_is_sold_beyond_what_was_promised_is_counted_and_no_further_than_it_goes() -> None:
    holding, _ = Holding(10, 0, 3, 1000).sold(4, 100, 3)
    assert (holding.quantity, holding.blocked_quantity, holding.oversold_quantity) == (6, 0, 0), (
        "held all the same"
    )
    holding, _ = replace(holding, blocked_quantity=2).sold(8, 100, 2)
    assert (holding.quantity, holding.blocked_quantity, holding.oversold_quantity) == (-2, 0, 2)
    holding, _ = Holding(10, 0, 10, 1000).sold(4, 100, 0)
    assert (holding.quantity, holding.blocked_quantity, holding.oversold_quantity) == (6, 10, 4), (
        "promised twice"
    )
