"""The book against a recorded one: 999 events with the ten best levels after each, and 91,997 events.

The record begins with a book that is not empty, and a file of ten levels says nothing of what happens
below the tenth. So the book is driven by the wider file (fifty levels, the same hour), and whatever a
level shows beyond its recorded orders at its *first* appearance among the ten is taken as the unknown
orders placed before the record began: 136 (side, price) levels appear, 19 of them held such quantity.
From then on nothing is corrected: each later row must come out of the engine exactly, all 999 of them.
"""

from collections import Counter
from pathlib import Path

import pytest

from exchange.simulator.history import (
    Comparison,
    Message,
    MessageKind,
    Outcome,
    RecordedBook,
    compare,
    read_depths,
    read_messages,
)
from tests.support.market_data import MARKET_DATA, recorded

pytestmark = recorded


@pytest.fixture(scope="module")
def orderflow() -> Path:
    return MARKET_DATA / "orderflow"


@pytest.fixture(scope="module")
def wide(orderflow: Path) -> list[Message]:
    return list(read_messages(next(orderflow.glob("*message_50.csv.gz"))))


def test_all_999_recorded_books_come_out_exactly(orderflow: Path, wide: list[Message]) -> None:
    narrow = read_messages(next(orderflow.glob("*message_10*.csv.gz")))
    depths = read_depths(next(orderflow.glob("*orderbook_10*.csv.gz")))
    assert compare(wide, narrow, depths) == Comparison(999, 999, levels=136, unknown_levels=19)


def test_the_comparison_notices_a_single_share(orderflow: Path, wide: list[Message]) -> None:
    narrow = list(read_messages(next(orderflow.glob("*message_10*.csv.gz"))))
    depths = list(read_depths(next(orderflow.glob("*orderbook_10*.csv.gz"))))
    (price, quantity), *rest = depths[500][0]
    depths[500] = ([(price, quantity + 1), *rest], depths[500][1])
    assert compare(wide, narrow, depths).exact == 998


def test_every_event_of_the_hour_is_accounted_for(wide: list[Message]) -> None:
    recorded = RecordedBook()
    for message in wide:
        recorded.apply(message)
    assert recorded.outcomes == Counter(
        {
            Outcome(MessageKind.NEW, True): 44_256,
            Outcome(MessageKind.PARTIAL_CANCEL, True): 469,
            Outcome(MessageKind.DELETE, True): 40_932,
            Outcome(MessageKind.DELETE, False): 72,
            Outcome(MessageKind.EXECUTION, True): 4_055,
            Outcome(MessageKind.EXECUTION, False): 12,
            Outcome(MessageKind.HIDDEN_EXECUTION, True): 2_201,
        }
    )
    assert recorded.outcomes.total() == 91_997
    assert len(recorded.book.orders) == 380
