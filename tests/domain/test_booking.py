"""Fills of many orders on one intraday position, in any order: its margin stays what the position needs."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.booking import UserBooks
from domain.instruments import InstrumentKind
from domain.margin import Account, BlockOutcome, position_key, unit_margin
from domain.margin_book import MarginBook
from domain.orders import Product, Side
from domain.positions import Holding
from tests.support.builders import some_terms

PERCENT, PRICE = 20, 100_00
TODAY, TOMORROW = date(2026, 12, 1), date(2026, 12, 2)
UNIT = unit_margin(InstrumentKind.EQUITY, Product.MIS, Side.BUY, PRICE, PERCENT) or 0
KEY = position_key("NSE:RELIANCE", Product.MIS)
STEPS = st.lists(
    st.tuples(st.just("place"), st.sampled_from(Side), st.integers(1, 20))
    | st.tuples(st.just("fill"), st.integers(0, 10), st.integers(1, 20))
    | st.tuples(st.just("cancel"), st.integers(0, 10), st.just(0)),
    max_size=40,
)


class Desk:
    """One user's ledger and the view that blocks for his orders, at one price."""

    def __init__(self) -> None:
        self.books, self.account = UserBooks(), Account(cash=60 * UNIT, generation=1)
        self.terms = {side: some_terms(product=Product.MIS, side=side, price=PRICE) for side in Side}
        self.sides: dict[int, Side] = {}

    @property
    def net(self) -> int:
        position = self.books.positions.get(("NSE:RELIANCE", Product.MIS))
        return position.net_quantity if position else 0

    @property
    def margin(self) -> int:
        position = self.books.positions.get(("NSE:RELIANCE", Product.MIS))
        return position.margin if position else 0

    def place(self, side: Side, quantity: int) -> None:
        view = MarginBook()
        view.load(self.account, {KEY: self.net}, self.books.holds)
        order_id = len(self.sides) + 1
        if view.block(order_id, side, KEY, True, quantity, UNIT).outcome is BlockOutcome.BLOCKED:
            assert view.account is not None
            self.books.holds[order_id], self.account = view.holds[order_id], view.account
            self.sides[order_id] = side

    def fill(self, nth: int, quantity: int) -> None:
        live = [i for i, h in self.books.holds.items() if h.open_quantity + h.close_quantity]
        if not live:
            return
        order_id = live[nth % len(live)]
        hold = self.books.holds[order_id]
        quantity = min(quantity, hold.open_quantity + hold.close_quantity)
        terms = self.terms[self.sides[order_id]]
        use = self.books.book_fill(
            order_id, terms, InstrumentKind.EQUITY, quantity, PRICE, PERCENT, TODAY
        ).use
        moved = sum(r.after.blocked - r.before.blocked for r in self.books.reopen(terms))
        blocked = self.account.blocked - use.open_quantity * hold.unit_margin + moved
        self.account = replace(self.account, blocked=blocked, used=self.account.used + use.used)

    def cancel(self, nth: int) -> None:
        if self.books.holds:
            order_id = list(self.books.holds)[nth % len(self.books.holds)]
            freed = self.books.close(order_id, self.terms[self.sides[order_id]])
            self.account = replace(
                self.account, blocked=self.account.blocked - (freed.blocked if freed else 0)
            )


@given(STEPS)
def test_whatever_fills_first_the_position_has_its_margin_and_nobody_overspends(
    steps: list[tuple[str, int | Side, int]],
) -> None:
    desk = Desk()
    for verb, which, quantity in steps:
        if verb == "place":
            desk.place(Side(str(which)), quantity)
        elif verb == "fill":
            desk.fill(int(which), quantity)
        else:
            desk.cancel(int(which))
        holds = desk.books.holds.values()
        assert desk.margin == desk.account.used == abs(desk.net) * UNIT
        assert desk.account.blocked == sum(hold.blocked for hold in holds)
        assert desk.account.available >= 0
        for side in Side:
            promised = sum(hold.close_quantity for hold in holds if hold.side is side)
            assert promised <= max(0, -side.sign * desk.net)


def test_a_later_order_that_fills_first_takes_its_margin_from_what_it_closed() -> None:
    """Long 10, a target for 10 above, another sale of 5 that trades before it: the target then opens 5."""
    desk = Desk()
    desk.place(Side.BUY, 10)
    desk.fill(0, 10)
    desk.place(Side.SELL, 10)
    desk.place(Side.SELL, 5)
    desk.fill(1, 5)
    assert (desk.net, desk.margin, desk.account.blocked) == (5, 5 * UNIT, 5 * UNIT)
    desk.fill(0, 10)
    assert (desk.net, desk.margin, desk.account.blocked) == (-5, 5 * UNIT, 0)


DELIVERIES = {
    "sold at what was paid": ([(TODAY, "BUY", 10, 100), (TODAY, "SELL", 10, 100)], 0),
    "sold at a profit, which is none before it settles": (
        [(TODAY, "BUY", 10, 100), (TODAY, "SELL", 10, 110)],
        0,
    ),
    "sold at a loss, which stays bound": ([(TODAY, "BUY", 10, 100), (TODAY, "SELL", 10, 90)], 100),
    "sold in part": ([(TODAY, "BUY", 10, 100), (TODAY, "SELL", 4, 110)], 600),
    "bought at two prices": (
        [(TODAY, "BUY", 10, 100), (TODAY, "BUY", 5, 130), (TODAY, "SELL", 5, 120)],
        1100,
    ),
    "sold from what was held before": ([(TODAY, "SELL", 10, 100)], 0),
    "sold more than was bought": ([(TODAY, "BUY", 10, 100), (TODAY, "SELL", 15, 100)], 0),
    "sold before it was bought": ([(TODAY, "SELL", 10, 100), (TODAY, "BUY", 10, 100)], 1000),
    "bought again": ([(TODAY, "BUY", 10, 100), (TODAY, "SELL", 10, 100), (TODAY, "BUY", 5, 90)], 450),
    "sold on the day after": ([(TODAY, "BUY", 10, 100), (TOMORROW, "SELL", 10, 100)], 1000),
    "sold of the second day's": (
        [(TODAY, "BUY", 10, 100), (TOMORROW, "BUY", 5, 200), (TOMORROW, "SELL", 10, 200)],
        1000,
    ),
    "a day's sale that is told on the next": (
        [(TODAY, "BUY", 10, 100), (TOMORROW, "BUY", 5, 200), (TODAY, "SELL", 5, 100)],
        2000,
    ),
}


@pytest.mark.parametrize(("trades", "bound"), DELIVERIES.values(), ids=DELIVERIES)
def test_a_delivery_that_is_sold_on_its_day_binds_its_cost_no_longer(
    trades: list[tuple[date, str, int, int]], bound: int
) -> None:
    """Rupees; a hundred shares are held from before."""
    books, used = UserBooks(), 0
    books.holdings["NSE:RELIANCE"] = Holding(100, cost=100 * 50_00)
    for number, (day, side, quantity, price) in enumerate(trades):
        terms = some_terms(side=Side(side), quantity=quantity, price=price * 100)
        filled = (quantity, price * 100, PERCENT, day)
        used += books.book_fill(number, terms, InstrumentKind.EQUITY, *filled).use.used
    assert used == bound * 100
