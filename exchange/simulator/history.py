"""Recorded order flow (LOBSTER message and order book files) and its way through a book.

A message is: seconds after midnight, type (1 new, 2 partial cancel, 3 delete, 4 execution of a visible
order, 5 of a hidden one), order id, size, price in 1/10,000 dollar, direction (of the resting order).
price / 100 reads as paise on a one-paisa tick. Used by the replay command, tests and benchmarks.
"""

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from domain.orders import OrderType, Side, Validity
from domain.time import NANOS
from exchange.simulator.matching.book import OrderBook
from exchange.simulator.matching.ladder import Order


class MessageKind(IntEnum):
    NEW = 1
    PARTIAL_CANCEL = 2
    DELETE = 3
    EXECUTION = 4
    HIDDEN_EXECUTION = 5


class Message(NamedTuple):
    time_ns: int
    """Since midnight."""
    kind: MessageKind
    order_id: int
    size: int
    price: int
    side: Side


class Outcome(NamedTuple):
    """How an event met the book: `known` is False for an order placed before the record began."""

    kind: MessageKind
    known: bool


def read_messages(path: Path) -> Iterator[Message]:
    """Messages of a gzipped file, in order. Raises ValueError on a row that is none."""
    with gzip.open(path, "rt", encoding="utf-8-sig") as rows:
        for row in rows:
            time, kind, order_id, size, price, direction = row.strip().split(",")
            whole, _, fraction = time.partition(".")
            yield Message(
                int(whole) * NANOS + int(fraction.ljust(9, "0")[:9]),
                MessageKind(int(kind)),
                int(order_id),
                int(size),
                int(price) // 100,
                Side.BUY if direction == "1" else Side.SELL,
            )


Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""(bids, asks), best first, as (price, quantity)."""


def read_depths(path: Path) -> Iterator[Depth]:
    """The best levels after each message."""
    with gzip.open(path, "rt", encoding="utf-8-sig") as rows:
        for row in rows:
            cells = [int(cell) for cell in row.split(",")]
            asks = [(cells[i] // 100, cells[i + 1]) for i in range(0, len(cells), 4)]
            bids = [(cells[i + 2] // 100, cells[i + 3]) for i in range(0, len(cells), 4)]
            yield bids, asks


class RecordedBook:
    """A book that follows history as it happened.

    Orders placed before the record began are unknown one by one; what is known of them is the quantity a
    level shows beyond the recorded orders. `seed` puts that into the book as one anonymous order, and
    events of unknown orders draw on it.
    """

    def __init__(self) -> None:
        self.book = OrderBook(last_price=0)
        self.outcomes: Counter[Outcome] = Counter()
        self._anonymous: dict[tuple[Side, int], int] = {}

    def apply(self, message: Message) -> Outcome:
        outcome = Outcome(message.kind, self._apply(message))
        self.outcomes[outcome] += 1
        return outcome

    def seed(self, side: Side, price: int, quantity: int) -> None:
        """Rest `quantity` of unknown orders at a level."""
        order_id = -1 - len(self._anonymous)
        self._anonymous[side, price] = order_id
        order = Order(order_id, side, OrderType.LIMIT, Validity.DAY, quantity, price)
        self.book.rest(order, quantity)

    def _apply(self, message: Message) -> bool:
        book, known = self.book, message.order_id in self.book.orders
        match message.kind:
            case MessageKind.NEW:
                terms = (message.side, OrderType.LIMIT, Validity.DAY, message.size, message.price)
                book.rest(Order(message.order_id, *terms), message.size)
                return True
            case MessageKind.HIDDEN_EXECUTION:
                book.print_trade(message.price)
                return True
            case _:
                fallback = self._anonymous.get((message.side, message.price), 0)
                order_id = message.order_id if known else fallback
                verb = book.execute if message.kind is MessageKind.EXECUTION else book.reduce
                verb(order_id, message.size)
                return known


class Comparison(NamedTuple):
    """How a replayed book fared against a recorded one."""

    rows: int
    exact: int
    levels: int
    """(side, price) levels that appeared."""
    unknown_levels: int
    """Of these, how many held quantity from before the record."""


def compare(wide: list[Message], narrow: Iterable[Message], depths: Iterable[Depth]) -> Comparison:
    """Replay `wide` and hold the best levels against `depths`, the recorded book after each of `narrow`.

    `narrow` is the part of the same hour that touches the recorded levels. What a level shows beyond its
    recorded orders when it first appears is taken for older orders and seeded; after that nothing is
    corrected. Raises IndexError when `narrow` is not a part of `wide`.
    """
    recorded, seen, at, rows, exact, unknown = RecordedBook(), set(), 0, 0, 0, 0
    for target, depth in zip(narrow, depths, strict=True):
        # The wide file's times are cut to 10 us, so a message is found by the rest of it.
        while recorded.apply(wide[at]) and wide[at][1:] != target[1:]:
            at += 1
        at += 1
        for side, levels in zip((Side.BUY, Side.SELL), depth, strict=True):
            for price, quantity in levels:
                if (side, price) not in seen:
                    seen.add((side, price))
                    unknown += _seed_missing(recorded, side, price, quantity)
        rows += 1
        exact += recorded.book.depth(len(depth[0])) == depth
    return Comparison(rows, exact, len(seen), unknown)


def _seed_missing(recorded: RecordedBook, side: Side, price: int, quantity: int) -> bool:
    ladder = recorded.book.ladder(side)
    level = ladder.levels.get(ladder.key(price))
    missing = quantity - (level.quantity if level else 0)
    if missing > 0:
        recorded.seed(side, price, missing)
    return missing > 0
