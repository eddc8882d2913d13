"""The exchange's trade file of a day against the trades in our books, leg by leg.

A leg is one side of a trade, or of one that was taken back: a bust is its trade with the quantity negated,
a correction such a leg and a new one, both under its own ExecID. Each leg of the file must be in the books
once, and each leg of the books in the file, alike in every particular. Called by the reconciliation.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from domain.money import rupees
from domain.orders import Side


@dataclass(frozen=True, slots=True)
class TradeLeg:
    exec_id: str
    order_id: str
    """The digits of its ClOrdID; a changed order trades under the ClOrdID of its last change."""
    client_id: str
    """Empty: of no account, which needs a person."""
    symbol: str
    side: Side
    quantity: int
    """Negative where a trade is taken back."""
    price: int
    """Paise."""

    def __str__(self) -> str:
        return (
            f"{self.side} {self.quantity} {self.symbol} @ {rupees(self.price)}"
            f" for {self.client_id or 'no account'}, order {self.order_id}"
        )


@dataclass(frozen=True, slots=True)
class TradeComparison:
    """What one exchange's file and our books have of a day."""

    exchange: str
    day: date
    filed: int
    booked: int
    differences: list[str]
    """One sentence a leg, by ExecID."""

    @property
    def sentence(self) -> str:
        counts = f"{self.filed} legs in the trade file, {self.booked} in the books"
        found = f"{len(self.differences)} are not alike" if self.differences else "they are alike"
        return f"{self.exchange} {self.day}: {counts}; {found}."


def compare(
    exchange: str, day: date, filed: Iterable[TradeLeg], booked: Iterable[TradeLeg]
) -> TradeComparison:
    theirs, ours = list(filed), list(booked)
    return TradeComparison(exchange, day, len(theirs), len(ours), sorted(_differences(theirs, ours)))


def _differences(filed: list[TradeLeg], booked: list[TradeLeg]) -> Iterator[str]:
    by_file, by_books = _by_name(filed), _by_name(booked)
    for name in by_file.keys() | by_books.keys():
        exec_id, in_file, in_books = name[0], by_file.get(name, []), by_books.get(name, [])
        if in_file == in_books and len(in_file) == 1:
            continue
        if not in_books:
            yield f"{exec_id} is not in our books: {_listed(in_file)}."
        elif not in_file:
            yield f"{exec_id} is not in the exchange's file: {_listed(in_books)}."
        else:
            theirs, ours = _listed(in_file), _listed(in_books)
            yield f"{exec_id} is {theirs} in the exchange's file and {ours} in our books."


def _by_name(legs: list[TradeLeg]) -> dict[tuple[str, bool], list[TradeLeg]]:
    """By ExecID and whether a trade is taken back."""
    found: dict[tuple[str, bool], list[TradeLeg]] = {}
    for leg in legs:
        found.setdefault((leg.exec_id, leg.quantity < 0), []).append(leg)
    return found


def _listed(legs: list[TradeLeg]) -> str:
    return " and ".join(map(str, legs))
