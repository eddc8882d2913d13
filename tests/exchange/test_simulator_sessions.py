"""The market's phases by the clock: dated plan, weekends, holidays."""

from datetime import datetime

import pytest

from domain.reports import MarketPhase
from domain.time import IST, NANOS
from exchange.simulator.sessions import read_plan


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("2026-11-23 08:59:59", MarketPhase.CLOSED),
        ("2026-11-23 09:00:00", MarketPhase.PRE_OPEN_ENTRY),
        ("2026-11-23 09:14:59", MarketPhase.PRE_OPEN_MATCHING),
        ("2026-11-23 09:15:00", MarketPhase.CONTINUOUS),
        ("2026-11-23 15:29:59", MarketPhase.CONTINUOUS),
        ("2026-11-23 15:30:00", MarketPhase.CLOSED),
        ("2026-11-22 11:00:00", MarketPhase.CLOSED),
        ("2026-12-25 11:00:00", MarketPhase.CLOSED),
    ],
)
def test_the_phase_follows_the_plan_of_the_day(moment: str, phase: MarketPhase) -> None:
    assert read_plan().phase_at(at(moment)) is phase
