"""Undoing a trade: the books are what they would be had it never been, or been so from the start."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.corrections import BookedTrade, undo
from domain.margin import used_by_trade
from domain.orders import Product, Side
from domain.positions import DayPurchases, Position

DAYS = [date(2026, 12, 1), date(2026, 12, 2)]
TRADES = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 300), st.integers(1, 10**6)), min_size=1, max_size=12
)


def booked(trades: list[BookedTrade], position: Position) -> tuple[Position, list[BookedTrade], int]:
    """As the booking of fills does it, one after the other, and the margin it used for a delivery."""
    done, paid, purchases = [], 0, DayPurchases()
    for trade in trades:
        used = used_by_trade(
            trade.side, trade.quantity, trade.unit_margin, position.net_quantity, position.margin
        )
        after = position.traded(trade.side, trade.quantity, trade.price)
        done.append(replace(trade, realized_pnl=after.realized_pnl - position.realized_pnl))
        position = replace(after, margin=position.margin + used)
        terms = (trade.side, trade.quantity, trade.price, trade.unit_margin, trade.day)
        purchases, bound = purchases.traded(*terms)
        paid += bound
    return position, done, paid


@pytest.mark.parametrize("product", [Product.MIS, Product.CNC])
@given(asked=TRADES, held=st.integers(0, 500), data=st.data())
def test_what_stands_afterwards_is_what_the_other_trades_make(
    product: Product, asked: list[tuple[Side, int, int]], held: int, data: st.DataObject
) -> None:
    """A delivery starts with shares that were held before; an intraday position with nothing."""
    start = Position(held, open_cost=held * 777) if product is Product.CNC else Position()
    days = sorted(data.draw(st.lists(st.sampled_from(DAYS), min_size=len(asked), max_size=len(asked))))
    units = [price if side is Side.BUY or product is Product.MIS else 0 for side, _, price in asked]
    trades = [
        BookedTrade(str(n), *terms, unit, day)
        for n, (terms, unit, day) in enumerate(zip(asked, units, days, strict=True))
    ]
    present, done, paid = booked(trades, start)
    chosen = data.draw(st.sampled_from(done))
    price = data.draw(st.none() | st.integers(1, 10**6))
    corrected = None
    if price is not None:
        quantity = data.draw(st.integers(1, chosen.quantity))
        unit = price if chosen.unit_margin else 0
        corrected = BookedTrade("new", chosen.side, quantity, price, unit, chosen.day)
    others = [corrected if trade.exec_id == chosen.exec_id else trade for trade in trades]
    should, rows, due = booked([trade for trade in others if trade], start)
    after = undo(present, product, done, chosen.exec_id, corrected)
    assert after.trades == rows
    assert after.position.net_quantity == should.net_quantity
    assert after.position.open_cost == should.open_cost
    assert after.position.realized_pnl == should.realized_pnl
    if product is Product.MIS:
        assert after.position == should and after.used == should.margin - present.margin
    else:
        assert after.used == due - paid


def rolled(position: Position) -> Position:
    """As the day roll leaves it: what is open, on its side and at its cost."""
    net, cost = position.net_quantity, position.open_cost
    if net < 0:
        return Position(sell_quantity=-net, sell_value=-cost, open_cost=cost, margin=position.margin)
    return Position(buy_quantity=net, buy_value=cost, open_cost=cost, margin=position.margin)


@given(yesterday=TRADES, today=st.just([]) | TRADES, data=st.data())
def test_a_trade_of_a_day_before_the_roll_is_undone_like_one_of_the_day_and_leaves_no_side_below_zero(
    yesterday: list[tuple[Side, int, int]], today: list[tuple[Side, int, int]], data: st.DataObject
) -> None:
    days = [
        [
            BookedTrade(f"{day}/{n}", side, quantity, price, price, DAYS[0])
            for n, (side, quantity, price) in asked
        ]
        for day, asked in (("y", enumerate(yesterday)), ("t", enumerate(today)))
    ]
    evening, early, _ = booked(days[0], Position())
    plain, late, _ = booked(days[1], evening)
    present, _, _ = booked(days[1], rolled(evening))
    chosen = data.draw(st.sampled_from(early + late)).exec_id
    should = undo(plain, Product.MIS, early + late, chosen, None)
    after = undo(present, Product.MIS, early + late, chosen, None)
    assert (after.trades, after.used) == (should.trades, should.used)
    position = after.position
    assert position.net_quantity == should.position.net_quantity
    assert (position.open_cost, position.margin) == (should.position.open_cost, should.position.margin)
    assert position.realized_pnl == should.position.realized_pnl - evening.realized_pnl
    assert min(position.buy_quantity, position.sell_quantity) >= 0
    assert position.buy_value - position.sell_value == position.open_cost - position.realized_pnl
