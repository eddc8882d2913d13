"""Which phase the market is in at an instant, from dated plans and a holiday list; pure.

One plan serves every instrument: the closing auction of shares with derivatives is not held here. A day
before the first plan's date, a weekend and a holiday are CLOSED. Source: NSE session times of 7 Sep 2026.
"""

import csv
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

from domain.reports import MarketPhase
from domain.time import IST, NANOS

FOLDER = Path(__file__).parent
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Start:
    effective_from: date
    starts_ist: time
    phase: MarketPhase


@dataclass(frozen=True, slots=True)
class SessionPlan:
    starts: tuple[Start, ...]
    """Ascending by date, then by time."""
    holidays: frozenset[date]

    def phase_at(self, now_ns: int) -> MarketPhase:
        now = datetime.fromtimestamp(now_ns // NANOS, IST)
        day = now.date()
        if day.weekday() >= _SATURDAY or day in self.holidays:
            return MarketPhase.CLOSED
        plan = max((s.effective_from for s in self.starts if s.effective_from <= day), default=None)
        begun = [s for s in self.starts if s.effective_from == plan and s.starts_ist <= now.time()]
        return begun[-1].phase if begun else MarketPhase.CLOSED


def read_plan(folder: Path = FOLDER) -> SessionPlan:
    """The plan of `session_plan.csv` and `holidays.csv`. Raises OSError, KeyError or ValueError."""
    with (folder / "session_plan.csv").open(newline="") as rows:
        starts = [
            Start(
                date.fromisoformat(row["effective_from"]),
                time.fromisoformat(row["starts_ist"]),
                MarketPhase(row["phase"]),
            )
            for row in csv.DictReader(rows)
        ]
    with (folder / "holidays.csv").open(newline="") as rows:
        holidays = frozenset(date.fromisoformat(row["date"]) for row in csv.DictReader(rows))
    return SessionPlan(tuple(sorted(starts, key=lambda s: (s.effective_from, s.starts_ist))), holidays)
