"""The phases of one day as instants: by the clock, or the whole day compressed into minutes.

A moment that the rules leave to chance is drawn here, from the seed, the day and the phase alone: every
class hears the same bell, and a restarted exchange draws the same again. Called by floor.py.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, time
from random import Random
from typing import NamedTuple, Protocol

from domain.reports import MarketPhase
from domain.sessions import SessionClass, SessionRules
from domain.time import NANOS, ist_ns, trade_date

MORNING = time(8, 45)
"""Where a compressed day begins."""
_MINUTE = 60 * NANOS
_CALL_PERCENT = 60
"""Of a reopening auction's time, for entry; the rest is matching and transition."""

TRADING = frozenset(
    {
        MarketPhase.PRE_OPEN_ENTRY,
        MarketPhase.PRE_OPEN_LIMIT,
        MarketPhase.PRE_OPEN_MATCHING,
        MarketPhase.CONTINUOUS,
        MarketPhase.HALTED,
    }
)
"""Phases of a class that is to trade today; leaving them, it gets its closing or reference price."""


class DuePhase(NamedTuple):
    at_ns: int
    session_class: SessionClass
    phase: MarketPhase
    average_since_ns: int
    """Where the average that makes the class's closing price begins; 0 where none is made."""


@dataclass(frozen=True, slots=True)
class CompressedDay:
    """A trading day played in minutes: each stretch between two of its moments takes `phase_ns`."""

    day: date
    begun_ns: int
    phase_ns: int


@dataclass(frozen=True, slots=True)
class TimedHalt:
    """The market stops for `halt_ns` and reopens by an auction that takes `auction_ns`."""

    begun_ns: int
    halt_ns: int
    auction_ns: int

    @property
    def ends_ns(self) -> int:
        return self.begun_ns + self.halt_ns + self.auction_ns


class Clock(Protocol):
    def scheduled(self, real_ns: int) -> int | None:
        """The moment of the trading day that an instant is; None where no such day is played."""


class WallClock:
    """The trading day is the real one."""

    def scheduled(self, real_ns: int) -> int | None:
        return real_ns


@dataclass(frozen=True, slots=True)
class Timetable:
    day: date
    """Of the calendar by which it runs."""
    dues: tuple[DuePhase, ...]
    """Ascending."""
    clock: Clock | None = None
    """None: the exchange keeps no hours."""

    def scheduled(self, real_ns: int) -> int | None:
        return self.clock.scheduled(real_ns) if self.clock is not None else None


def calendar_day(rules: SessionRules, day: date, seed: int) -> Timetable:
    """The day as it is; empty when there is no trading."""
    dues = [due for session_class in SessionClass for due in _dues(rules, day, session_class, seed)]
    return Timetable(day, tuple(sorted(dues)), WallClock())


def compressed_day(rules: SessionRules, compressed: CompressedDay, seed: int) -> Timetable:
    """The day from 08:45 to its end, then open again, as an exchange without hours is."""
    morning = ist_ns(compressed.day, MORNING)
    planned = calendar_day(rules, compressed.day, seed).dues
    moments = {change.latest_ns for c in SessionClass for change in rules.changes(compressed.day, c)}
    # The averages behind closing prices begin inside a phase; they get time of their own as well.
    averages = {due.average_since_ns for due in planned if due.average_since_ns > morning}
    scale = _Scale(sorted({morning, *moments, *averages}), compressed)
    dues = [DuePhase(scale.real(morning), c, MarketPhase.CLOSED, 0) for c in SessionClass]
    dues += [
        due._replace(at_ns=scale.real(due.at_ns), average_since_ns=scale.real(due.average_since_ns))
        for due in planned
    ]
    reopens = max(due.at_ns for due in dues) + compressed.phase_ns
    dues += [DuePhase(reopens, c, MarketPhase.CONTINUOUS, 0) for c in SessionClass]
    return Timetable(trade_date(compressed.begun_ns), tuple(sorted(dues)), replace(scale, ends_ns=reopens))


def halted(timetable: Timetable, halt: TimedHalt, classes: Iterable[SessionClass]) -> Timetable:
    """The day with a halt of these classes; what could not reopen in time stays halted to its close."""
    dues = list(timetable.dues)
    for session_class in classes:
        mine = [d for d in dues if d.session_class is session_class and d.at_ns > halt.begun_ns]
        ends = [d for d in mine if d.phase not in TRADING]
        reopens = not ends or ends[0].at_ns > halt.ends_ns
        resumes = next((d for d in ends if reopens or d.phase is MarketPhase.CLOSED), None)
        # What an earlier halt had planned goes with the rest.
        dues = [d for d in dues if d not in mine or (resumes and d.at_ns >= resumes.at_ns)]
        dues.append(DuePhase(halt.begun_ns, session_class, MarketPhase.HALTED, 0))
        if reopens:
            entry_ns = halt.begun_ns + halt.halt_ns
            matching_ns = entry_ns + halt.auction_ns * _CALL_PERCENT // 100
            dues += [
                DuePhase(entry_ns, session_class, MarketPhase.PRE_OPEN_ENTRY, 0),
                DuePhase(matching_ns, session_class, MarketPhase.PRE_OPEN_MATCHING, 0),
                DuePhase(halt.ends_ns, session_class, MarketPhase.CONTINUOUS, 0),
            ]
    return replace(timetable, dues=tuple(sorted(dues)))


@dataclass(frozen=True, slots=True)
class _Scale:
    knots: list[int]
    compressed: CompressedDay
    ends_ns: int | None = None
    """When the day is over and the market open again."""

    def scheduled(self, real_ns: int) -> int | None:
        """The planned instant that a real one is: `real` the other way."""
        if real_ns < self.compressed.begun_ns or (self.ends_ns is not None and real_ns >= self.ends_ns):
            return None
        at, into = divmod(real_ns - self.compressed.begun_ns, self.compressed.phase_ns)
        if at + 1 >= len(self.knots):
            return self.knots[-1]
        low, high = self.knots[at], self.knots[at + 1]
        return low + (high - low) * into // self.compressed.phase_ns

    def real(self, planned_ns: int) -> int:
        """The instant at which a planned one comes; in proportion between two knots."""
        knots, phase = self.knots, self.compressed.phase_ns
        if planned_ns <= knots[0]:
            return self.compressed.begun_ns
        at = min(bisect_right(knots, planned_ns), len(knots) - 1)
        low, high = knots[at - 1], knots[at]
        return self.compressed.begun_ns + (at - 1) * phase + (planned_ns - low) * phase // (high - low)


def _dues(rules: SessionRules, day: date, session_class: SessionClass, seed: int) -> Iterator[DuePhase]:
    before = MarketPhase.CLOSED
    for change in rules.changes(day, session_class):
        chance = Random(f"{seed}:{day}:{change.phase}:{change.latest_ns}")
        drawn = chance.randint(change.earliest_ns, change.latest_ns)
        average_ns = rules.closing_rule(day, session_class).average_minutes * _MINUTE
        # Whatever continuous trading gives way to, it leaves a reference or closing price behind.
        closing = before is MarketPhase.CONTINUOUS
        yield DuePhase(drawn, session_class, change.phase, change.latest_ns - average_ns if closing else 0)
        before = change.phase
