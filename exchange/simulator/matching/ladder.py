"""One side of a book: price levels from worst to best, each a queue in time order.

Keys are signed (asks negated), so that on either side the best level is the last of a sorted list: taking
it is a pop, a new level one bisection. Invariant: a level in the ladder is never empty and its quantity
is the sum of its orders' leaves. Used by book.py alone.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass, field

from domain.orders import OrderType, Side, Validity


@dataclass(slots=True)
class Order:
    """An order at the exchange. `price` is 0 where the type has none; `leaves` is what may still trade."""

    order_id: int
    side: Side
    order_type: OrderType
    validity: Validity
    quantity: int
    price: int = 0
    trigger: int = 0
    leaves: int = field(init=False)

    def __post_init__(self) -> None:
        self.leaves = self.quantity


@dataclass(slots=True)
class Level:
    price: int
    quantity: int = 0
    queue: OrderedDict[int, Order] = field(default_factory=OrderedDict)


class Ladder:
    """Bids or asks."""

    __slots__ = ("_sign", "keys", "levels")

    def __init__(self, side: Side) -> None:
        self._sign = side.sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        """By key."""

    def key(self, price: int) -> int:
        return price * self._sign

    def add(self, order: Order) -> None:
        """Join the queue at the order's price, last in time."""
        key = order.price * self._sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(order.price)
            insort(self.keys, key)
        level.queue[order.order_id] = order
        level.quantity += order.leaves

    def reduce(self, order: Order, quantity: int) -> None:
        """Take `quantity` off a resting order; at zero it leaves the ladder."""
        key = order.price * self._sign
        level = self.levels[key]
        level.quantity -= quantity
        order.leaves -= quantity
        if order.leaves == 0:
            del level.queue[order.order_id]
            if not level.queue:
                self._drop(key)

    def best(self) -> Level | None:
        return self.levels[self.keys[-1]] if self.keys else None

    def depth(self, count: int) -> list[tuple[int, int]]:
        """(price, quantity) of the best levels, best first, at most `count`."""
        levels = self.levels
        return [(levels[key].price, levels[key].quantity) for key in self.keys[: -count - 1 : -1]]

    def _drop(self, key: int) -> None:
        del self.levels[key]
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]
