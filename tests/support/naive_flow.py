"""Generated order flow in the recorded format, and a naive book that says what must come of it.

The book is one plain list of orders in order of arrival: whatever is asked of it is summed up anew, so it
shares no idea with the engine (ladders, levels, queues) that it judges. Like a recording, the flow begins
with a book that is not empty, and its orders are known to nobody one by one.
"""

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

BUY, SELL = 1, -1
LEVELS = 10
FIRST, REACH = 50_000, 30
"""Paise: where the flow begins, and how far from the best opposite order one is placed."""
OLDER = 160
TREND = 200
"""Events in which it is one side that is executed: the price moves."""
NEW, PARTIAL_CANCEL, DELETE, EXECUTION, HIDDEN = 1, 2, 3, 4, 5
Row = tuple[str, int, int, int, int, int]


@dataclass(slots=True)
class Resting:
    order_id: int
    side: int
    price: int
    size: int
    older: bool
    """Placed before the record begins."""


class NaiveBook:
    def __init__(self) -> None:
        self.orders: list[Resting] = []

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(price, quantity), best first."""
        sums: Counter[int] = Counter()
        for order in self.orders:
            if order.side == side:
                sums[order.price] += order.size
        return sorted(sums.items(), reverse=side == BUY)

    def first(self, side: int) -> Resting:
        """Who trades next: the best price, of these the earliest."""
        price = self.levels(side)[0][0]
        return next(order for order in self.orders if order.side == side and order.price == price)

    def older_at(self, side: int, price: int) -> int:
        return sum(o.size for o in self.orders if o.older and (o.side, o.price) == (side, price))

    def take(self, order: Resting, size: int) -> None:
        order.size -= size
        if order.size == 0:
            self.orders.remove(order)


class GeneratedFlow:
    """Events until `rows` of them have changed the ten best levels of the book."""

    def __init__(self, rows: int, seed: int) -> None:
        self._chance, self.book = Random(seed), NaiveBook()
        self._next_id = 1
        self.events: list[Row] = []
        self.narrow: list[Row] = []
        self.depths: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]] = []
        self.outcomes: Counter[tuple[int, bool]] = Counter()
        """By kind and whether the order is of the record."""
        self.appeared: dict[tuple[int, int], bool] = {}
        """(side, price) among the ten best -> whether older orders stood there when it first was."""
        for _ in range(OLDER):
            self._rest(older=True)
        while len(self.narrow) < rows:
            self._happen()

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """Every message, those of the ten best levels, and the book after each of the latter."""
        wide, narrow, depths = (folder / f"{n}.csv.gz" for n in ("message_50", "message_10", "orderbook_10"))
        _write(wide, (",".join(map(str, row)) for row in self.events))
        _write(narrow, (",".join(map(str, row)) for row in self.narrow))
        _write(depths, (_depth_row(bids, asks) for bids, asks in self.depths))
        return wide, narrow, depths

    def _happen(self) -> None:
        before = self._depth()
        kinds, weights = (NEW, PARTIAL_CANCEL, DELETE, EXECUTION, HIDDEN), (50, 3, 29, 16, 2)
        [kind] = self._chance.choices(kinds, weights)
        thin = [side for side in (BUY, SELL) if len(self.book.levels(side)) < LEVELS + 2]
        if thin or kind == NEW:
            kind, order = NEW, self._rest(older=False, sides=thin)
            size = order.size
        else:
            side = BUY if len(self.events) // TREND % 2 else SELL
            executed = kind in (EXECUTION, HIDDEN)
            order = self.book.first(side) if executed else self._chance.choice(self.book.orders)
            part = kind == PARTIAL_CANCEL and order.size > 1
            size = self._chance.randint(1, order.size - 1) if part else order.size
            if kind != HIDDEN:
                self.book.take(order, size)
        order_id = 0 if kind == HIDDEN else order.order_id
        at = f"{34_200 + len(self.events) / 100:.9f}"
        row = (at, kind, order_id, size, order.price * 100, order.side)
        self.events.append(row)
        self.outcomes[kind, kind in (NEW, HIDDEN) or not order.older] += 1
        if (after := self._depth()) != before:
            self._record(row, after)

    def _record(self, row: Row, depth: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> None:
        self.narrow.append(row)
        self.depths.append(depth)
        for side, levels in zip((BUY, SELL), depth, strict=True):
            for price, _ in levels:
                if (side, price) not in self.appeared:
                    self.appeared[side, price] = self.book.older_at(side, price) > 0

    def _depth(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return self.book.levels(BUY)[:LEVELS], self.book.levels(SELL)[:LEVELS]

    def _rest(self, *, older: bool, sides: Sequence[int] = ()) -> Resting:
        """A new order on its own side of the middle: what would trade is an execution, in such a record."""
        side = self._chance.choice(sides or (BUY, SELL))
        opposite = self.book.levels(-side)
        bound = opposite[0][0] if opposite else FIRST + side
        price = bound - side * (1 + min(int(self._chance.expovariate(1 / 12)), REACH))
        order = Resting(self._next_id, side, price, self._chance.randint(1, 300), older)
        self._next_id += 1
        self.book.orders.append(order)
        return order


def _write(path: Path, rows: Iterator[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8-sig") as file:
        file.writelines(f"{row}\n" for row in rows)


def _depth_row(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> str:
    return ",".join(
        f"{ask * 100},{asked},{bid * 100},{wanted}"
        for (bid, wanted), (ask, asked) in zip(bids, asks, strict=True)
    )
