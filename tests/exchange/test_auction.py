"""The call auction's price: books worked out by hand, then random ones against every price there is."""

from hypothesis import given
from hypothesis import strategies as st

from domain.orders import OrderType, Side, Validity
from exchange.simulator.matching.auction import Equilibrium, equilibrium
from exchange.simulator.matching.book import OrderBook
from exchange.simulator.matching.events import Accepted, Repriced, Traded
from exchange.simulator.matching.ladder import Order

BUY, SELL = Side.BUY, Side.SELL


def test_the_price_with_the_largest_volume_wins() -> None:
    # price  demand  supply  volume
    #   101      50     180      50
    #   100     150     140     140   <
    #    99     250      60      60
    bids = [(101, 50), (100, 100), (99, 100)]
    asks = [(99, 60), (100, 80), (101, 40)]
    assert equilibrium(bids, asks, 0, 0, reference=95) == Equilibrium(100, 140, 10)


def test_of_equal_volumes_the_smaller_imbalance_wins() -> None:
    # price  demand  supply  volume  imbalance
    #   102     100     130     100        -30
    #   101     120     100     100         20   <
    #   100     120      70      70
    bids = [(102, 100), (101, 20)]
    asks = [(100, 70), (101, 30), (102, 30)]
    assert equilibrium(bids, asks, 0, 0, reference=102) == Equilibrium(101, 100, 20)


def test_of_equal_imbalances_the_price_nearest_to_the_reference_wins() -> None:
    # 105 and 100 both trade 10 with nothing left over.
    assert equilibrium([(105, 10)], [(100, 10)], 0, 0, reference=110) == Equilibrium(105, 10, 0)
    assert equilibrium([(105, 10)], [(100, 10)], 0, 0, reference=101) == Equilibrium(100, 10, 0)


def test_between_two_equally_near_prices_the_reference_itself_is_taken() -> None:
    assert equilibrium([(106, 10)], [(100, 10)], 0, 0, reference=103) == Equilibrium(103, 10, 0)


def test_market_orders_count_at_every_price() -> None:
    # price  demand  supply  volume
    #   101   30+20      40      40   <
    #   100   30+20       0       0
    assert equilibrium([(101, 20)], [(101, 40)], 30, 0, reference=100) == Equilibrium(101, 40, 10)


def test_market_orders_alone_trade_at_the_reference() -> None:
    assert equilibrium([], [], 30, 50, reference=97) == Equilibrium(97, 30, -20)


def test_where_nothing_can_trade_there_is_no_price() -> None:
    assert equilibrium([(99, 10)], [(100, 10)], 0, 0, reference=99) is None
    assert equilibrium([], [], 10, 0, reference=99) is None


levels = st.dictionaries(st.integers(90, 110), st.integers(1, 50), max_size=8)
unpriced = st.integers(0, 60)


@given(levels, levels, unpriced, unpriced, st.integers(85, 115))
def test_no_price_trades_more_and_none_that_trades_as_much_leaves_less(
    bids: dict[int, int], asks: dict[int, int], buys: int, sells: int, reference: int
) -> None:
    def at(price: int) -> tuple[int, int]:
        demand = buys + sum(quantity for p, quantity in bids.items() if p >= price)
        supply = sells + sum(quantity for p, quantity in asks.items() if p <= price)
        return min(demand, supply), demand - supply

    found = equilibrium(bids.items(), asks.items(), buys, sells, reference)
    every = {price: at(price) for price in range(80, 121)}
    # Without a limit order any price would do, and the reference is the rule.
    candidates = sorted(bids.keys() | asks.keys()) or [reference]
    if found is None:
        assert max(every[price][0] for price in candidates) == 0
        return
    assert (found.volume, found.imbalance) == every[found.price]
    assert found.volume == max(volume for volume, _ in every.values())
    best = [p for p in candidates if every[p][0] == found.volume]
    assert abs(found.imbalance) <= min(abs(every[p][1]) for p in best)


def limit(order_id: int, side: Side, quantity: int, price: int) -> Order:
    return Order(order_id, side, OrderType.LIMIT, Validity.DAY, quantity, price)


def market(order_id: int, side: Side, quantity: int) -> Order:
    return Order(order_id, side, OrderType.MARKET, Validity.DAY, quantity)


def a_call(*orders: Order) -> OrderBook:
    book = OrderBook(100)
    book.calling = True
    for order in orders:
        assert book.enter(order) == [Accepted(order.order_id, False)]
    return book


def test_a_call_gathers_crossing_orders_and_trades_market_orders_first_then_price_then_time() -> None:
    book = a_call(
        limit(1, BUY, 10, 101),
        limit(2, BUY, 10, 102),
        limit(3, BUY, 10, 101),
        limit(4, SELL, 22, 99),
        market(5, BUY, 5),
        limit(6, BUY, 10, 98),
    )
    assert book.uncross(101) == [
        Traded(101, 5, 5, 0, 4, 17),
        Traded(101, 10, 2, 0, 4, 7),
        Traded(101, 7, 1, 3, 4, 0),
    ]
    assert book.price_left_over(101) == []
    assert book.depth(5) == ([(101, 13), (98, 10)], [])
    assert [o.order_id for o in book.bids.levels[101].queue.values()] == [1, 3]
    assert book.last_price == 101


def test_market_orders_left_over_become_limit_orders_at_the_equilibrium_price() -> None:
    book = a_call(market(1, BUY, 30), limit(2, SELL, 10, 99), market(3, BUY, 5))
    assert book.uncross(99) == [Traded(99, 10, 1, 20, 2, 0)]
    assert book.price_left_over(99) == [Repriced(1, 99, 20), Repriced(3, 99, 5)]
    book.calling = False
    assert book.enter(limit(4, SELL, 22, 99))[1:] == [
        Traded(99, 20, 4, 2, 1, 0),
        Traded(99, 2, 4, 0, 3, 3),
    ]


def test_an_order_can_be_changed_and_taken_out_of_a_call() -> None:
    book = a_call(market(1, BUY, 30), limit(2, BUY, 10, 101), limit(3, SELL, 10, 100))
    book.replace(1, 20, OrderType.MARKET)
    book.replace(2, 10, OrderType.LIMIT, 99)
    book.cancel(3)
    assert book.unpriced[BUY][1].leaves == 20
    assert book.depth(5) == ([(99, 10)], [])
    book.cancel(1)
    assert not book.unpriced[BUY]


@given(
    st.lists(
        st.tuples(st.sampled_from(Side), st.integers(1, 20), st.none() | st.integers(95, 105)),
        min_size=1,
        max_size=20,
    )
)
def test_an_uncrossed_book_has_traded_the_volume_and_crosses_no_more(
    asked: list[tuple[Side, int, int | None]],
) -> None:
    orders = [
        limit(i, side, quantity, price) if price else market(i, side, quantity)
        for i, (side, quantity, price) in enumerate(asked)
    ]
    book = a_call(*orders)
    bids, asks = book.depth(50)
    buys, sells = (sum(o.leaves for o in book.unpriced[side].values()) for side in Side)
    found = equilibrium(bids, asks, buys, sells, 100)
    trades = book.uncross(found.price) if found else []
    assert sum(t.quantity for t in trades if isinstance(t, Traded)) == (found.volume if found else 0)
    book.price_left_over(found.price if found else 100)
    assert sum(o.leaves for o in book.orders.values()) == sum(o.quantity for o in orders) - 2 * (
        found.volume if found else 0
    )
    best_bid, best_ask = book.bids.best(), book.asks.best()
    assert not best_bid or not best_ask or best_bid.price < best_ask.price
