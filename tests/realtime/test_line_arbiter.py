"""Two lines, one stream: every number is taken once, and what neither line brought is told once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from realtime.feed.line_arbiter import OTHER_LINE_NS, LineArbiter

LATER = OTHER_LINE_NS + 1


def take(arbiter: LineArbiter, *numbers: int, at: int = 0) -> list[int]:
    """The numbers that were wanted."""
    array = np.array(numbers, np.int64)
    return [int(n) for n in array[arbiter.take(array, at)]]


def test_the_second_line_brings_nothing_new() -> None:
    arbiter = LineArbiter(0)
    assert take(arbiter, 1, 2, 3) == [1, 2, 3]
    assert take(arbiter, 1, 2, 3) == []
    assert take(arbiter, 3, 4) == [4]
    assert arbiter.overdue(LATER) == []


def test_the_other_line_fills_what_one_has_lost() -> None:
    arbiter = LineArbiter(0)
    assert take(arbiter, 1, 4, 8) == [1, 4, 8]
    assert take(arbiter, 1, 2, 3, 4, 6, 8) == [2, 3, 6]
    assert take(arbiter, 5, 6, 7) == [5, 7]
    assert arbiter.overdue(LATER) == []


def test_what_both_lines_lost_is_told_once_when_the_other_line_had_its_time() -> None:
    arbiter = LineArbiter(0)
    take(arbiter, 1, 2, 6, at=100)
    take(arbiter, 1, 2, 4, 6, at=101)
    assert arbiter.overdue(99 + OTHER_LINE_NS) == []
    assert [(gap.first, gap.last) for gap in arbiter.overdue(100 + OTHER_LINE_NS)] == [(3, 3), (5, 5)]
    assert arbiter.overdue(100 + LATER) == []
    assert take(arbiter, 3) == [], "told as a gap, so a snapshot has to heal it"


def test_a_heartbeat_tells_of_a_last_packet_that_was_lost() -> None:
    arbiter = LineArbiter(10)
    take(arbiter, 11)
    arbiter.announce(11, 0)
    assert arbiter.overdue(LATER) == []
    arbiter.announce(13, 0)
    assert [(gap.first, gap.last, gap.packets) for gap in arbiter.overdue(LATER)] == [(12, 13, 2)]


def test_a_leap_of_a_whole_range_costs_no_memory() -> None:
    arbiter = LineArbiter(0)
    take(arbiter, 2**62)
    assert take(arbiter, 5) == [5]
    assert sum(gap.packets for gap in arbiter.overdue(LATER)) == 2**62 - 2


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 60), max_size=12, unique=True)), max_size=30),
)
def test_taken_waited_for_and_told_are_all_numbers_and_none_twice(
    sent: int, batches: list[tuple[bool, list[int]]]
) -> None:
    arbiter, taken, told = LineArbiter(0), set[int](), set[int]()
    for tick, (is_heartbeat, numbers) in enumerate(batches):
        now = tick * (OTHER_LINE_NS // 3)
        if is_heartbeat:
            arbiter.announce(sent, now)
        elif numbers:
            wanted = take(arbiter, *sorted(numbers), at=now)
            assert not taken & set(wanted)
            assert not told & set(wanted)
            taken |= set(wanted)
        for gap in arbiter.overdue(now):
            found = set(range(gap.first, gap.last + 1))
            assert not found & (taken | told)
            told |= found
    for gap in arbiter.overdue(len(batches) * OTHER_LINE_NS + LATER):
        told |= set(range(gap.first, gap.last + 1))
    assert taken | told == set(range(1, arbiter.last + 1))
    assert not taken & told
