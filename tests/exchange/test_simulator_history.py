"""The book against a naive one: generated flow whose every event and every ten best levels must come out.

What the engine makes of recorded files of a real exchange is in test_recorded_history.py.
"""

from pathlib import Path

import pytest

from exchange.simulator.history import (
    Comparison,
    MessageKind,
    Outcome,
    RecordedBook,
    compare,
    read_depths,
    read_messages,
)
from tests.support.naive_flow import GeneratedFlow

Files = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def flow() -> GeneratedFlow:
    return GeneratedFlow(rows=999, seed=1)


@pytest.fixture(scope="module")
def files(flow: GeneratedFlow, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return flow.write(tmp_path_factory.mktemp("orderflow"))


def test_all_999_generated_books_come_out_exactly(flow: GeneratedFlow, files: Files) -> None:
    wide, narrow, depths = files
    levels, unknown = len(flow.appeared), sum(flow.appeared.values())
    assert levels > 30 and 20 < unknown < levels - 10
    outcome = compare(list(read_messages(wide)), read_messages(narrow), read_depths(depths))
    assert outcome == Comparison(999, 999, levels, unknown)


def test_the_comparison_notices_a_single_share(files: Files) -> None:
    wide, narrow, depth_file = files
    depths = list(read_depths(depth_file))
    (price, quantity), *rest = depths[500][0]
    depths[500] = ([(price, quantity + 1), *rest], depths[500][1])
    assert compare(list(read_messages(wide)), read_messages(narrow), depths).exact == 998


def test_every_event_is_accounted_for_and_the_orders_that_rest_are_the_naive_book_s(
    flow: GeneratedFlow, files: Files
) -> None:
    recorded = RecordedBook()
    for message in read_messages(files[0]):
        recorded.apply(message)
    expected = {Outcome(MessageKind(kind), known): n for (kind, known), n in flow.outcomes.items()}
    assert recorded.outcomes == expected
    assert recorded.outcomes.total() == len(flow.events) > 1_200
    assert {Outcome(kind, True) for kind in MessageKind} < set(expected), "every kind happens"
    assert (
        Outcome(MessageKind.DELETE, False) in expected and Outcome(MessageKind.EXECUTION, False) in expected
    )
    rest = {order.order_id: order.size for order in flow.book.orders if not order.older}
    assert {i: order.leaves for i, order in recorded.book.orders.items()} == rest
