"""The house's own hours, beside the exchange's: after-market orders and the intraday square-off.

Dated rows per session class (config/market/), because they are policy. An after-market order leaves in the
first phase of its day that takes it, no earlier than the policy says. Called by the order path and the
operations worker. Source: market-rules section 2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol, TypeVar

from domain.orders import OrderType, Validity
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS, SessionClass, SessionRules
from domain.time import IST, NANOS, ist_ns, trade_date

LOOK_BACK_DAYS = 30


@dataclass(frozen=True, slots=True)
class AfterMarket:
    """After-market orders are taken from `opens`, over midnight, until `closes`."""

    day: date
    session_class: SessionClass
    opens: time
    closes: time
    released_from: MarketPhase
    """The earliest phase in which they are sent."""


@dataclass(frozen=True, slots=True)
class SquareOff:
    """Intraday positions are closed at `at`; from then on none is opened."""

    day: date
    session_class: SessionClass
    at: time


class _Dated(Protocol):
    @property
    def day(self) -> date: ...
    @property
    def session_class(self) -> SessionClass: ...


Row = TypeVar("Row", bound=_Dated)


@dataclass(frozen=True, slots=True)
class BrokerHours:
    """Rows ascending by day. Every question about a day before the first row is answered with no."""

    rules: SessionRules
    after_market: tuple[AfterMarket, ...]
    square_off: tuple[SquareOff, ...]

    def takes_after_market(self, time_ns: int, session_class: SessionClass) -> bool:
        """Whether an after-market order may be placed now; on a day without trading, at any hour."""
        now = datetime.fromtimestamp(time_ns // NANOS, IST)
        row = _in_force(self.after_market, now.date(), session_class)
        if row is None or not self.rules.calendar.covers(now.date()):
            return False
        if not self.rules.calendar.is_trading_day(now.date()):
            return True
        return now.time() >= row.opens or now.time() < row.closes

    def release_day(self, time_ns: int, session_class: SessionClass) -> date | None:
        """The day for which an after-market order is placed: the next of trading. None where no row or
        calendar covers it."""
        now = datetime.fromtimestamp(time_ns // NANOS, IST)
        row, calendar = _in_force(self.after_market, now.date(), session_class), self.rules.calendar
        if row is None:
            return None
        tonight = now.time() >= row.opens and calendar.is_trading_day(now.date())
        return calendar.next_trading_day(now.date() + timedelta(days=tonight))

    def after_market_phases(
        self, time_ns: int, session_class: SessionClass, order_type: OrderType, validity: Validity
    ) -> tuple[MarketPhase, ...]:
        """The phases in which an order placed now leaves: of its release day, from the policy's on."""
        day = self.release_day(time_ns, session_class)
        row = _in_force(self.after_market, trade_date(time_ns), session_class)
        if row is None or day is None:
            return ()
        phases = self.phases_taking(day, session_class, order_type, validity)
        return _from(phases, row.released_from, self._phases(day, session_class))

    def phases_taking(
        self,
        day: date,
        session_class: SessionClass,
        order_type: OrderType,
        validity: Validity,
        after: MarketPhase | None = None,
    ) -> tuple[MarketPhase, ...]:
        """The day's phases that take such an order, in order, perhaps only those after a phase."""
        phases = self._phases(day, session_class)
        if after in phases:
            phases = phases[phases.index(after) + 1 :]
        taking = (phase for phase in phases if PERMISSIONS[phase].takes(order_type, validity))
        return tuple(dict.fromkeys(taking))

    def _phases(self, day: date, session_class: SessionClass) -> list[MarketPhase]:
        return [change.phase for change in self.rules.changes(day, session_class)]

    def square_off_ns(self, day: date, session_class: SessionClass) -> int | None:
        """The instant of the day's square-off; None on a day without regular trading."""
        row = _in_force(self.square_off, day, session_class)
        calendar = self.rules.calendar
        regular = calendar.is_trading_day(day) and day not in calendar.special_sessions
        return ist_ns(day, row.at) if row is not None and regular else None

    def last_square_off(self, market_ns: int, session_class: SessionClass) -> date | None:
        """The day whose square-off has come last; None where no row covers one."""
        today = trade_date(market_ns)
        for day in (today - timedelta(back) for back in range(LOOK_BACK_DAYS)):
            at_ns = self.square_off_ns(day, session_class)
            if at_ns is not None and at_ns <= market_ns:
                return day
        return None

    def takes_later(
        self, market_ns: int, session_class: SessionClass, order_type: OrderType, validity: Validity
    ) -> bool:
        """Whether a later phase of the same day takes such an order."""
        return any(
            change.latest_ns > market_ns and PERMISSIONS[change.phase].takes(order_type, validity)
            for change in self.rules.changes(trade_date(market_ns), session_class)
        )


def _from(
    phases: tuple[MarketPhase, ...], first: MarketPhase, day: list[MarketPhase]
) -> tuple[MarketPhase, ...]:
    """Those of the phases that do not come before `first` in the day."""
    allowed = day[day.index(first) :] if first in day else day
    return tuple(phase for phase in phases if phase in allowed)


def _in_force(rows: Iterable[Row], day: date, session_class: SessionClass) -> Row | None:
    found = [row for row in rows if row.session_class is session_class and row.day <= day]
    return found[-1] if found else None
