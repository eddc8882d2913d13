"""Recorded order flow (LOBSTER message and order book files) and its way through a book.

A message is: seconds after midnight, type (1 new, 2 partial cancel, 3 delete, 4 execution of a visible
order, 5 of a hidden one), order id, size, price in 1/10,000 dollar, direction (of the resting order).
price / 100 reads as paise on a one-paisa tick. Used by the replay command, tests and benchmarks.
"""

import gzip
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from domain.orders import OrderType, Side, Validity
from domain.time import NANOS
from exchange.simulator.book import OrderBook
from exchange.simulator.ladder import Order


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


def read_depths(path: Path) -> Iterator[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """(bids, asks) after each message, best first, as (price, quantity)."""
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
