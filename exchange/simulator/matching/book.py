"""The matching engine of one instrument: strict price-time priority, integers only, no I/O, no clock.

Invariants: bids stay below asks at rest; nothing trades before what ranks ahead of it; quantity entered =
traded + cancelled + expired + resting. A market order's remainder rests at its last trade's price, as at
NSE; an IOC's is cancelled. While a book is calling, orders gather unmatched and may cross until `uncross`.
Callers: venue.py for orders, history.py for the past as it happened.
"""

from collections import deque
from collections.abc import Iterator

from domain.orders import OrderType, Side, Validity
from exchange.simulator.matching.events import (
    TOO_LATE,
    UNKNOWN_ORDER,
    Accepted,
    Cancelled,
    Event,
    Expired,
    Refused,
    Replaced,
    Repriced,
    Traded,
    Triggered,
)
from exchange.simulator.matching.ladder import Ladder, Order
from exchange.simulator.matching.stops import Stops, reached

STOPS = frozenset({OrderType.SL, OrderType.SL_M})
UNPRICED = frozenset({OrderType.MARKET, OrderType.SL_M})


class OrderBook:
    """`last_price` starts as the previous close; order ids are unique for the life of the book."""

    def __init__(self, last_price: int) -> None:
        self.last_price = last_price
        self.bids = Ladder(Side.BUY)
        self.asks = Ladder(Side.SELL)
        self.orders: dict[int, Order] = {}
        """Resting orders and waiting stops."""
        self.calling = False
        self.unpriced: dict[Side, dict[int, Order]] = {Side.BUY: {}, Side.SELL: {}}
        """Market orders of a call, in time order; they rank before every price."""
        self.stops = Stops()
        self._triggered: deque[Order] = deque()

    def enter(self, order: Order) -> list[Event]:
        """Accept an order: a stop waits unless already triggered, the rest match, or gather in a call."""
        stop = order.order_type in STOPS
        events: list[Event] = [Accepted(order.order_id, stop)]
        self._admit(order, stop, events)
        return events

    def cancel(self, order_id: int) -> list[Event]:
        order = self.orders.get(order_id)
        if order is None:
            return [Refused(order_id, UNKNOWN_ORDER, "no such order rests in the book")]
        leaves = order.leaves
        self._shrink(order, order.leaves)
        return [Cancelled(order_id, leaves)]

    def replace(
        self, order_id: int, quantity: int, order_type: OrderType, price: int = 0, trigger: int = 0
    ) -> list[Event]:
        """New terms for a resting order; `quantity` is the new total, what has traded counts."""
        order = self.orders.get(order_id)
        if order is None:
            return [Refused(order_id, UNKNOWN_ORDER, "no such order rests in the book")]
        leaves = quantity - (order.quantity - order.leaves)
        if leaves <= 0:
            return [Refused(order_id, TOO_LATE, "that quantity has already traded")]
        same = (order_type, price, trigger) == (order.order_type, order.price, order.trigger)
        if same and quantity < order.quantity:
            self._shrink(order, order.leaves - leaves)
            order.quantity = quantity
            return [Replaced(order_id, quantity, leaves, True)]
        stop = order_type in STOPS and order_id in self.stops.waiting
        self._shrink(order, order.leaves)
        if order_type in STOPS and not stop:  # its trigger has been: what is left is the released order
            order_type, trigger = (OrderType.LIMIT if price else OrderType.MARKET), 0
        order.quantity, order.leaves = quantity, leaves
        order.order_type, order.price, order.trigger = order_type, price, trigger
        events: list[Event] = [Replaced(order_id, quantity, leaves, False)]
        self._admit(order, stop, events)
        return events

    def expire(self, order_id: int) -> list[Event]:
        order = self.orders[order_id]
        leaves = order.leaves
        self._shrink(order, order.leaves)
        return [Expired(order_id, leaves)]

    def rest(self, order: Order, leaves: int) -> None:
        """Put an order back as it stood, unmatched: a book rebuilt from the journal, a seeded level."""
        order.leaves = leaves
        if order.order_type in STOPS:
            self._wait(order)
        else:
            self._gather(order)

    def reduce(self, order_id: int, quantity: int) -> int:
        """History's partial or whole cancel; returns what was taken, 0 when the order is not here."""
        order = self.orders.get(order_id)
        if order is None:
            return 0
        taken = min(quantity, order.leaves)
        self._shrink(order, taken)
        return taken

    def execute(self, order_id: int, quantity: int) -> int:
        """History's execution of one resting order, whatever ranks ahead; returns what traded."""
        order = self.orders.get(order_id)
        if order is None:
            return 0
        self.last_price = order.price
        return self.reduce(order_id, quantity)

    def print_trade(self, price: int) -> list[Event]:
        """A trade against hidden quantity: the book stays, the last price moves and may set off stops."""
        events: list[Event] = []
        self._set_last_price(price)
        self._release(events)
        return events

    def uncross(self, price: int) -> list[Event]:
        """Trade at one price whatever can: market orders first, then by price and time."""
        events: list[Event] = []
        buyers, sellers = self._willing(Side.BUY, price), self._willing(Side.SELL, price)
        buy, sell = next(buyers, None), next(sellers, None)
        while buy and sell:
            quantity = min(buy.leaves, sell.leaves)
            self._shrink(buy, quantity)
            self._shrink(sell, quantity)
            events.append(Traded(price, quantity, buy.order_id, buy.leaves, sell.order_id, sell.leaves))
            self.last_price = price
            buy = buy if buy.leaves else next(buyers, None)
            sell = sell if sell.leaves else next(sellers, None)
        return events

    def price_left_over(self, price: int) -> list[Event]:
        """Market orders that found no counterpart become limit orders."""
        events: list[Event] = []
        for waiting in self.unpriced.values():
            for order in waiting.values():
                order.order_type, order.price = OrderType.LIMIT, price
                self.ladder(order.side).add(order)
                events.append(Repriced(order.order_id, price, order.leaves))
            waiting.clear()
        return events

    def depth(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(price, quantity) of the best bids and asks, best first."""
        return self.bids.depth(count), self.asks.depth(count)

    def ladder(self, side: Side) -> Ladder:
        return self.bids if side is Side.BUY else self.asks

    def _admit(self, order: Order, stop: bool, events: list[Event]) -> None:
        if stop and not reached(order, self.last_price):
            self._wait(order)
            return
        if stop:
            self._triggered.append(order)
        elif self.calling:
            self._gather(order)
        else:
            self._match(order, events)
        if not self.calling:
            self._release(events)

    def _willing(self, side: Side, price: int) -> Iterator[Order]:
        """A side's orders that would trade at a price, in priority; taken orders leave as they are met."""
        waiting, ladder = self.unpriced[side], self.ladder(side)
        while waiting:
            yield next(iter(waiting.values()))
        while (level := ladder.best()) and side.sign * level.price >= side.sign * price:
            yield next(iter(level.queue.values()))

    def _match(self, order: Order, events: list[Event]) -> None:
        opposite = self.asks if order.side is Side.BUY else self.bids
        unpriced = order.order_type in UNPRICED
        limit = 0 if unpriced else opposite.key(order.price)
        keys, levels = opposite.keys, opposite.levels
        while order.leaves and keys and (unpriced or keys[-1] >= limit):
            level = levels[keys[-1]]
            resting = next(iter(level.queue.values()))
            quantity = min(order.leaves, resting.leaves)
            order.leaves -= quantity
            opposite.reduce(resting, quantity)
            if not resting.leaves:
                del self.orders[resting.order_id]
            events.append(
                Traded(level.price, quantity, order.order_id, order.leaves, resting.order_id, resting.leaves)
            )
            self._set_last_price(level.price)
        if order.leaves:
            self._remainder(order, unpriced, events)

    def _remainder(self, order: Order, unpriced: bool, events: list[Event]) -> None:
        if order.validity is Validity.IOC:
            events.append(Cancelled(order.order_id, order.leaves))
            return
        if unpriced:
            order.order_type, order.price, order.trigger = OrderType.LIMIT, self.last_price, 0
            events.append(Repriced(order.order_id, order.price, order.leaves))
        self._rest(order)

    def _rest(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.ladder(order.side).add(order)

    def _gather(self, order: Order) -> None:
        if order.order_type is OrderType.MARKET:
            self.orders[order.order_id] = self.unpriced[order.side][order.order_id] = order
        else:
            self._rest(order)

    def _wait(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.stops.add(order)

    def _shrink(self, order: Order, quantity: int) -> None:
        if order.order_id in self.stops.waiting:
            order.leaves -= quantity
            if not order.leaves:
                del self.stops.waiting[order.order_id]
        elif order.order_id in self.unpriced[order.side]:
            order.leaves -= quantity
            if not order.leaves:
                del self.unpriced[order.side][order.order_id]
        else:
            self.ladder(order.side).reduce(order, quantity)
        if not order.leaves:
            del self.orders[order.order_id]

    def _set_last_price(self, price: int) -> None:
        """Every trade's price is a last price: stops it reaches leave their heap in trigger order."""
        self.last_price = price
        for order in self.stops.take_reached(price):
            del self.orders[order.order_id]
            self._triggered.append(order)

    def _release(self, events: list[Event]) -> None:
        """Send triggered stops into the match one by one; their trades may trigger more."""
        while self._triggered:
            order = self._triggered.popleft()
            events.append(Triggered(order.order_id))
            order.order_type = OrderType.LIMIT if order.order_type is OrderType.SL else OrderType.MARKET
            order.trigger = 0
            self._match(order, events)
