"""Stops that wait for their trigger, in the order in which a moving price reaches them.

Per side a heap of (signed trigger, arrival, order id); entries of orders that are gone, or that have another
trigger by now, are skipped when met. Used by book.py alone.
"""

from heapq import heappop, heappush

from domain.orders import Side
from exchange.simulator.matching.ladder import Order


class Stops:
    def __init__(self) -> None:
        self.waiting: dict[int, Order] = {}
        self._heaps: dict[Side, list[tuple[int, int, int]]] = {Side.BUY: [], Side.SELL: []}
        self._arrivals = 0

    def add(self, order: Order) -> None:
        self.waiting[order.order_id] = order
        self._arrivals += 1
        entry = (order.side.sign * order.trigger, self._arrivals, order.order_id)
        heappush(self._heaps[order.side], entry)

    def take_reached(self, price: int) -> list[Order]:
        """Stops that a last price sets off; they wait no more."""
        taken: list[Order] = []
        if not self.waiting:
            return taken
        for side, heap in self._heaps.items():
            while heap and heap[0][0] <= side.sign * price:
                order = self.waiting.get(heappop(heap)[2])
                # A replaced trigger has its own, later entry.
                if order is not None and reached(order, price):
                    taken.append(self.waiting.pop(order.order_id))
        return taken


def reached(order: Order, price: int) -> bool:
    """Whether a last price sets the stop off."""
    return order.side.sign * price >= order.side.sign * order.trigger
