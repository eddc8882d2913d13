"""The trading day: which phase a class of instruments is in, what a phase allows, and which days there are.

Phases are dated rows (config/market/), never literals: a rule change is a row. A moment that the exchange
draws at random is an interval here; until its end the earlier phase is assumed, and what the exchange
announces (FIX TradingSessionStatus) decides. A day before the calendar is not a trading day.
Called by the simulator's clock, the API and the order path. Source: market-rules section 1.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from enum import StrEnum

from domain.instruments import Instrument, InstrumentKind, Segment
from domain.orders import OrderType, Validity
from domain.reports import MarketPhase
from domain.time import ist_ns, trade_date

_SATURDAY = 5
_LOOK_DAYS = 30
_WARNED_DAYS = 60


class SessionClass(StrEnum):
    """Instruments that go through the day together; the exchange announces each class's phase."""

    CAS = "CAS"
    """Cash shares that have derivatives: they close by auction."""
    CASH = "CASH"
    """Every other instrument of the cash segment."""
    FO = "FO"
    FRONT_FUTURE = "FRONT_FUTURE"
    """Current-month futures: they open by auction."""

    @property
    def segment(self) -> Segment:
        return Segment.CASH if self in (SessionClass.CAS, SessionClass.CASH) else Segment.FO


def session_classes(instruments: Iterable[Instrument], day: date) -> dict[str, SessionClass]:
    """Each instrument's class on a day, by instrument id; the front future is its underlying's nearest."""
    rows = list(instruments)
    front: dict[str | None, date] = {}
    for row in rows:
        if row.kind is InstrumentKind.FUTURE and row.expiry is not None and row.expiry >= day:
            front[row.underlying] = min(row.expiry, front.get(row.underlying, row.expiry))
    return {row.instrument_id: _class_of(row, front) for row in rows}


def _class_of(row: Instrument, front: Mapping[str | None, date]) -> SessionClass:
    if row.segment is Segment.CASH:
        has_derivatives = row.kind is InstrumentKind.EQUITY and row.dynamic_band
        return SessionClass.CAS if has_derivatives else SessionClass.CASH
    nearest = row.kind is InstrumentKind.FUTURE and row.expiry == front.get(row.underlying)
    return SessionClass.FRONT_FUTURE if nearest else SessionClass.FO


@dataclass(frozen=True, slots=True)
class Permission:
    """What a phase lets in. `fixed` are order types that rest but can no longer be changed or cancelled."""

    order_types: frozenset[OrderType] = frozenset()
    validities: frozenset[Validity] = frozenset()
    modify: bool = False
    cancel: bool = False
    fixed: frozenset[OrderType] = frozenset()

    def takes(self, order_type: OrderType, validity: Validity) -> bool:
        """Whether a new order of this kind may enter."""
        return order_type in self.order_types and validity in self.validities


def _call(*order_types: OrderType, fixed: Iterable[OrderType] = ()) -> Permission:
    return Permission(frozenset(order_types), frozenset({Validity.DAY}), True, True, frozenset(fixed))


_NOTHING = Permission()
_EVERYTHING = Permission(frozenset(OrderType), frozenset({Validity.DAY, Validity.IOC}), True, True)
_LIMIT_ONLY = _call(OrderType.LIMIT, fixed=[OrderType.MARKET])
_ENTRY = _call(OrderType.LIMIT, OrderType.MARKET)

PERMISSIONS: dict[MarketPhase, Permission] = {
    MarketPhase.CLOSED: _NOTHING,
    MarketPhase.PRE_OPEN_ENTRY: _ENTRY,
    MarketPhase.PRE_OPEN_LIMIT: _LIMIT_ONLY,
    MarketPhase.PRE_OPEN_MATCHING: _NOTHING,
    MarketPhase.CONTINUOUS: _EVERYTHING,
    MarketPhase.CLOSING_REFERENCE: _NOTHING,
    # Sources conflict on IOC in the closing auction: not allowed is the conservative reading.
    MarketPhase.CLOSING_AUCTION: _ENTRY,
    MarketPhase.CLOSING_AUCTION_LIMIT: _LIMIT_ONLY,
    MarketPhase.CLOSING_MATCHING: _NOTHING,
    MarketPhase.POST_CLOSE: _call(OrderType.MARKET),
    # An order may be taken out of a halted market, nothing may be put in.
    MarketPhase.HALTED: Permission(cancel=True),
}


@dataclass(frozen=True, slots=True)
class Start:
    """One row of a plan: from `day` on (a special session: on `day`) a class enters a phase."""

    day: date
    session_class: SessionClass
    earliest: time
    latest: time
    phase: MarketPhase


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """A class enters a phase at a moment drawn from `earliest_ns` to `latest_ns`, often one and the same."""

    session_class: SessionClass
    phase: MarketPhase
    earliest_ns: int
    latest_ns: int


@dataclass(frozen=True, slots=True)
class ClosingRule:
    """How a class's reference or closing price is found: the average of its last minutes of trading."""

    day: date
    session_class: SessionClass
    average_minutes: int
    band_percent: int | None
    """The closing auction's price band around the reference; None where there is no such auction."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of trading and of settlement; names by day. Kept for whole years, from the first listed day.

    After the kept years it goes by rule: weekends, and the holidays that have the same date every year. The
    exchange will name more, so whoever depends on such a day has been warned in time (`warning`).
    """

    holidays: Mapping[date, str]
    settlement_holidays: Mapping[date, str]
    """Banks are closed: shares trade, nothing settles."""
    weekend_trading: Mapping[date, str]
    special_sessions: Mapping[date, str]
    """Days that trade at hours of their own, such as Muhurat."""
    yearly: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Holidays by month and day."""

    @property
    def kept_until(self) -> date:
        return max(self.holidays).replace(month=12, day=31)

    def covers(self, day: date) -> bool:
        return min(self.holidays) <= day

    def warning(self, day: date) -> str | None:
        """What the house must be told when the kept calendar is about to end, or has."""
        left = (self.kept_until - day).days
        if left > _WARNED_DAYS:
            return None
        ends = "ended" if left < 0 else "ends"
        return (
            f"The trading calendar {ends} on {self.kept_until}; after it only weekends and fixed holidays "
            "are known. Add the exchange's list to config/market/calendar.csv."
        )

    def is_holiday(self, day: date) -> bool:
        if day <= self.kept_until:
            return day in self.holidays
        return day in self.holidays or (day.month, day.day) in self.yearly

    def is_trading_day(self, day: date) -> bool:
        if not self.covers(day) or self.is_holiday(day):
            return False
        return day.weekday() < _SATURDAY or day in self.weekend_trading or day in self.special_sessions

    def next_trading_day(self, day: date) -> date | None:
        """The day itself if it is one; None before the calendar begins."""
        days = (day + timedelta(ahead) for ahead in range(_LOOK_DAYS))
        return next((d for d in days if self.is_trading_day(d)), None)

    def is_settlement_day(self, day: date) -> bool:
        weekday = self.covers(day) and day.weekday() < _SATURDAY
        return weekday and not self.is_holiday(day) and day not in self.settlement_holidays

    def settlement_day(self, traded: date, days: int = 1) -> date:
        """T + `days`. Raises LookupError for a day before the calendar begins."""
        day = traded
        while days:
            day += timedelta(1)
            if not self.covers(day):
                raise LookupError(f"the calendar does not cover {day}")
            days -= self.is_settlement_day(day)
        return day


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Rows ascending by day, then by time."""

    calendar: Calendar
    plan: tuple[Start, ...]
    special: tuple[Start, ...]
    closing: tuple[ClosingRule, ...]
    _days: dict[tuple[date, SessionClass], tuple[PhaseChange, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def changes(self, day: date, session_class: SessionClass) -> tuple[PhaseChange, ...]:
        """The day's phases of a class, in order; none on a day without trading."""
        key = (day, session_class)
        if key not in self._days:
            self._days[key] = tuple(
                PhaseChange(session_class, s.phase, ist_ns(day, s.earliest), ist_ns(day, s.latest))
                for s in self._starts(day, session_class)
            )
        return self._days[key]

    def phase_at(self, time_ns: int, session_class: SessionClass) -> MarketPhase:
        """The phase by the rules."""
        begun = [c for c in self.changes(trade_date(time_ns), session_class) if c.latest_ns <= time_ns]
        return begun[-1].phase if begun else MarketPhase.CLOSED

    def next_change(self, time_ns: int, session_class: SessionClass) -> PhaseChange | None:
        """The first change after an instant; None before the calendar begins."""
        today = trade_date(time_ns)
        for ahead in range(_LOOK_DAYS):
            for change in self.changes(today + timedelta(ahead), session_class):
                if change.latest_ns > time_ns:
                    return change
        return None

    def last_begun_day(self, time_ns: int) -> date | None:
        """The trading day whose sessions have begun last; None where the calendar begins after."""
        today = trade_date(time_ns)
        for back in range(_LOOK_DAYS):
            day = today - timedelta(back)
            first = [changes[0] for one in SessionClass if (changes := self.changes(day, one))]
            if any(change.earliest_ns <= time_ns for change in first):
                return day
        return None

    def closing_rule(self, day: date, session_class: SessionClass) -> ClosingRule:
        """Raises LookupError for a day before the first rule."""
        rules = [r for r in self.closing if r.session_class is session_class and r.day <= day]
        if not rules:
            raise LookupError(f"no closing price rule of {session_class} covers {day}")
        return rules[-1]

    def _starts(self, day: date, session_class: SessionClass) -> Iterator[Start]:
        if not self.calendar.is_trading_day(day):
            return
        special = day in self.calendar.special_sessions
        rows = [s for s in (self.special if special else self.plan) if s.session_class is session_class]
        dated = max((s.day for s in rows if s.day <= day), default=None)
        yield from (s for s in rows if s.day == (day if special else dated))
