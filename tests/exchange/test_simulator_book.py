"""The matching engine: hand-written scenes, then random ones against a naive book that rescans all orders."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.orders import OrderType, Side, Validity
from exchange.simulator.matching.book import OrderBook
from exchange.simulator.matching.events import (
    TOO_LATE,
    UNKNOWN_ORDER,
    Accepted,
    Cancelled,
    Expired,
    Refused,
    Replaced,
    Repriced,
    Traded,
    Triggered,
)
from exchange.simulator.matching.ladder import Order

BUY, SELL = Side.BUY, Side.SELL


def limit(order_id: int, side: Side, quantity: int, price: int, validity: Validity = Validity.DAY) -> Order:
    return Order(order_id, side, OrderType.LIMIT, validity, quantity, price)


def market(order_id: int, side: Side, quantity: int, validity: Validity = Validity.DAY) -> Order:
    return Order(order_id, side, OrderType.MARKET, validity, quantity)


def stop(order_id: int, side: Side, quantity: int, trigger: int, price: int = 0) -> Order:
    kind = OrderType.SL if price else OrderType.SL_M
    return Order(order_id, side, kind, Validity.DAY, quantity, price, trigger)


def book_of(*orders: Order, last_price: int = 100) -> OrderBook:
    book = OrderBook(last_price)
    for order in orders:
        book.enter(order)
    return book


def test_a_market_order_sweeps_the_best_prices_first_and_older_orders_first() -> None:
    book = book_of(limit(1, SELL, 5, 102), limit(2, SELL, 5, 101), limit(3, SELL, 5, 101))
    assert book.enter(market(9, BUY, 12)) == [
        Accepted(9, False),
        Traded(101, 5, 9, 7, 2, 0),
        Traded(101, 5, 9, 2, 3, 0),
        Traded(102, 2, 9, 0, 1, 3),
    ]
    assert book.depth(5) == ([], [(102, 3)])
    assert book.last_price == 102


def test_a_limit_order_trades_at_the_resting_price_and_rests_with_what_is_left() -> None:
    book = book_of(limit(1, SELL, 5, 100))
    assert book.enter(limit(2, BUY, 8, 103))[1:] == [Traded(100, 5, 2, 3, 1, 0)]
    assert book.depth(5) == ([(103, 3)], [])


def test_an_ioc_order_never_rests() -> None:
    book = book_of(limit(1, SELL, 5, 100))
    events = book.enter(limit(2, BUY, 8, 100, Validity.IOC))
    assert events[-1] == Cancelled(2, 3)
    assert book.depth(5) == ([], [])


def test_a_market_orders_remainder_rests_at_the_last_traded_price() -> None:
    book = book_of(limit(1, SELL, 5, 104))
    book.enter(market(2, BUY, 8))
    assert book.depth(5) == ([(104, 3)], [])


def test_a_smaller_quantity_keeps_priority_and_anything_else_loses_it() -> None:
    book = book_of(limit(1, BUY, 10, 100), limit(2, BUY, 10, 100))
    assert book.replace(1, 6, OrderType.LIMIT, 100) == [Replaced(1, 6, 6, True)]
    assert book.enter(market(8, SELL, 1))[1:] == [Traded(100, 1, 8, 0, 1, 5)]
    assert book.replace(1, 7, OrderType.LIMIT, 100) == [Replaced(1, 7, 6, False)]
    assert book.enter(market(9, SELL, 1))[1:] == [Traded(100, 1, 9, 0, 2, 9)]


def test_a_replaced_price_that_crosses_trades_at_once() -> None:
    book = book_of(limit(1, BUY, 5, 99), limit(2, SELL, 5, 101))
    assert book.replace(1, 5, OrderType.LIMIT, 101) == [
        Replaced(1, 5, 5, False),
        Traded(101, 5, 1, 0, 2, 0),
    ]


def test_what_has_traded_cannot_be_replaced_away_and_an_unknown_order_cannot_be_cancelled() -> None:
    book = book_of(limit(1, BUY, 10, 100), market(2, SELL, 4))
    assert [type(e) for e in book.replace(1, 4, OrderType.LIMIT, 100)] == [Refused]
    assert book.replace(1, 4, OrderType.LIMIT, 100)[0].reason == TOO_LATE  # type: ignore[union-attr]
    assert book.cancel(77)[0].reason == UNKNOWN_ORDER  # type: ignore[union-attr]


def test_stops_wait_for_the_last_price_and_trigger_in_trigger_order() -> None:
    book = book_of(
        limit(1, SELL, 1, 105), limit(2, SELL, 10, 106), stop(3, BUY, 2, 105), stop(4, BUY, 2, 103)
    )
    assert book.enter(market(9, BUY, 1)) == [
        Accepted(9, False),
        Traded(105, 1, 9, 0, 1, 0),
        Triggered(4),
        Traded(106, 2, 4, 0, 2, 8),
        Triggered(3),
        Traded(106, 2, 3, 0, 2, 6),
    ]


def test_a_stop_limit_rests_at_its_limit_once_triggered_and_a_hidden_trade_triggers_too() -> None:
    book = book_of(stop(1, SELL, 5, trigger=98, price=97))
    assert book.print_trade(98) == [Triggered(1)]
    assert book.depth(5) == ([], [(97, 5)])


def test_a_stop_whose_trigger_is_behind_the_market_is_released_at_once() -> None:
    book = book_of(limit(1, SELL, 5, 101))
    assert book.enter(stop(2, BUY, 5, trigger=100)) == [
        Accepted(2, True),
        Triggered(2),
        Traded(101, 5, 2, 0, 1, 0),
    ]


def test_a_waiting_stop_can_be_replaced_cancelled_and_expired() -> None:
    book = book_of(stop(1, BUY, 5, 110), stop(2, BUY, 5, 110), stop(3, BUY, 5, 110))
    assert book.replace(1, 5, OrderType.SL_M, 0, 120) == [Replaced(1, 5, 5, False)]
    assert book.cancel(2) == [Cancelled(2, 5)]
    assert book.expire(3) == [Expired(3, 5)]
    assert book.print_trade(115) == []
    assert book.print_trade(120) == [Triggered(1), Repriced(1, 120, 5)]


@dataclass
class NaiveBook:
    """Price-time priority by scanning every order at every step."""

    orders: list[Order] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)

    def enter(self, order: Order) -> None:
        while order.leaves:
            others = [o for o in self.orders if o.side is not order.side and o.leaves]
            if order.order_type is OrderType.LIMIT:
                others = [o for o in others if order.side.sign * (order.price - o.price) >= 0]
            if not others:
                break
            resting = min(others, key=lambda o: (-o.side.sign * o.price, self.orders.index(o)))
            quantity = min(order.leaves, resting.leaves)
            order.leaves -= quantity
            resting.leaves -= quantity
            self.trades.append((order.order_id, resting.order_id, resting.price, quantity))
        if order.validity is Validity.DAY and order.leaves:
            self.orders.append(order)

    def cancel(self, order_id: int) -> None:
        self.orders = [o for o in self.orders if o.order_id != order_id]

    def depth(self, side: Side) -> list[tuple[int, int]]:
        prices = sorted(
            {o.price for o in self.orders if o.side is side and o.leaves}, key=lambda p: -side.sign * p
        )
        return [(p, sum(o.leaves for o in self.orders if o.side is side and o.price == p)) for p in prices]


STEP = st.tuples(
    st.sampled_from(["limit", "limit", "limit", "ioc", "cancel"]),
    st.sampled_from([BUY, SELL]),
    st.integers(1, 20),
    st.integers(95, 105),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_random_flow_matches_the_naive_book_and_conserves_quantity(
    steps: list[tuple[str, Side, int, int]],
) -> None:
    book, naive = OrderBook(100), NaiveBook()
    trades, entered, gone = [], 0, 0
    for order_id, (verb, side, quantity, price) in enumerate(steps):
        if verb == "cancel":
            target = quantity % (order_id + 1)
            events = book.cancel(target)
            naive.cancel(target)
        else:
            validity = Validity.IOC if verb == "ioc" else Validity.DAY
            entered += quantity
            events = book.enter(limit(order_id, side, quantity, price, validity))
            naive.enter(limit(order_id, side, quantity, price, validity))
        for event in events:
            if isinstance(event, Traded):
                trades.append((event.aggressor_id, event.resting_id, event.price, event.quantity))
            elif isinstance(event, Cancelled):
                gone += event.quantity
    assert trades == naive.trades
    assert book.depth(100) == (naive.depth(BUY), naive.depth(SELL))
    resting = sum(order.leaves for order in book.orders.values())
    assert entered == 2 * sum(trade[3] for trade in trades) + gone + resting
