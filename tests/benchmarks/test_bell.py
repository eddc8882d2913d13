"""The bell's own check: each fault that a release could have is told."""

import pytest

from benchmarks.bell import Armed, check
from domain.orders import PlacedOrder
from stack.errors import StackError
from tests.support.builders import some_terms

ARMED = Armed([PlacedOrder(n, 1, n, 0, some_terms(), "", "test") for n in range(1, 7)], cancelled={4})
TAKEN = [("A", 1), ("B", 2), ("A", 3), ("B", 6), ("A", 5)]


def test_each_session_in_its_order_is_right_whatever_comes_between() -> None:
    check(ARMED, TAKEN)


@pytest.mark.parametrize(
    ("taken", "fault"),
    [
        (TAKEN[1:], "order 1 was lost"),
        ([*TAKEN, ("A", 5)], "order 5 entered 2 times"),
        ([*TAKEN, ("B", 4)], "order 4 was cancelled before the bell"),
        ([("A", 3), ("A", 1), *TAKEN[1:2], *TAKEN[3:]], "1 orders of A were overtaken"),
    ],
)
def test_a_fault_is_told(taken: list[tuple[str, int]], fault: str) -> None:
    with pytest.raises(StackError, match=fault):
        check(ARMED, taken)
