"""The market-wide circuit breaker: every cell of its table, either way, and what has fired."""

from datetime import date, datetime

import pytest

from config.rules import halt_rules
from domain.market_halts import Halt, market_halt
from domain.time import IST, NANOS

RULES = halt_rules(date(2026, 11, 24))
CLOSE = 25_938_85


def at(clock: str) -> int:
    return int(datetime.fromisoformat(f"2026-11-24 {clock}").replace(tzinfo=IST).timestamp()) * NANOS


def moved(percent: int) -> int:
    """The index value that is exactly so far from the close, or the nearest beyond."""
    return -(-CLOSE * (100 + percent) // 100) if percent > 0 else CLOSE * (100 + percent) // 100


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(
    ("percent", "clock", "auction", "reopens"),
    [
        (10, "09:15:00", "10:00:00", "10:15:00"),
        (10, "12:59:59", "13:44:59", "13:59:59"),
        (10, "13:00:00", "13:15:00", "13:30:00"),
        (10, "14:29:59", "14:44:59", "14:59:59"),
        (15, "09:15:00", "11:00:00", "11:15:00"),
        (15, "12:59:59", "14:44:59", "14:59:59"),
        (15, "13:00:00", "13:45:00", "14:00:00"),
        (15, "13:59:59", "14:44:59", "14:59:59"),
    ],
)
def test_a_halt_ends_with_an_auction(
    percent: int, clock: str, auction: str, reopens: str, direction: int
) -> None:
    halt = market_halt(CLOSE, moved(percent * direction), at(clock), 0, RULES)
    assert halt == Halt(percent, at(clock), at(auction), at(reopens))


@pytest.mark.parametrize(
    ("percent", "clock"),
    [
        (15, "14:00:00"),
        (15, "14:30:00"),
        (20, "09:15:00"),
        (20, "13:00:00"),
        (20, "15:29:59"),
        (-20, "10:00:00"),
    ],
)
def test_the_rest_of_the_day_is_the_rest_of_the_day(percent: int, clock: str) -> None:
    assert market_halt(CLOSE, moved(percent), at(clock), 0, RULES) == Halt(
        abs(percent), at(clock), None, None
    )


def test_ten_percent_after_half_past_two_halts_nothing() -> None:
    assert market_halt(CLOSE, moved(-10), at("14:30:00"), 0, RULES) is None
    assert market_halt(CLOSE, moved(-10), at("15:00:00"), 0, RULES) is None


def test_a_paisa_less_than_the_stage_is_not_the_stage() -> None:
    assert market_halt(100_00, 90_01, at("10:00:00"), 0, RULES) is None
    assert market_halt(100_00, 90_00, at("10:00:00"), 0, RULES) is not None
    assert market_halt(100_00, 110_00, at("10:00:00"), 0, RULES) is not None


def test_a_stage_fires_once_and_only_a_higher_one_follows() -> None:
    assert market_halt(CLOSE, moved(-12), at("11:00:00"), 10, RULES) is None
    halt = market_halt(CLOSE, moved(-15), at("11:00:00"), 10, RULES)
    assert halt is not None
    assert halt.move_percent == 15
    assert market_halt(CLOSE, moved(-16), at("13:00:00"), 15, RULES) is None
    final = market_halt(CLOSE, moved(-21), at("13:00:00"), 15, RULES)
    assert final is not None
    assert (final.move_percent, final.reopens_ns) == (20, None)


def test_a_fall_through_two_stages_at_once_fires_the_higher() -> None:
    halt = market_halt(CLOSE, moved(-17), at("10:00:00"), 0, RULES)
    assert halt is not None
    assert halt.move_percent == 15
