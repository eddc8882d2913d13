"""The dated rules of the present day, looked up once a day: session classes, the house's hours, protection.

A day without rules is never guessed: the gates ask `unknown` first, and refuse. Called by the gates.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from config.rules import market_protection, protection_rules
from config.sessions import broker_hours
from domain.exchange_terms import ProtectionSlab
from domain.instruments import Instrument
from domain.price_bands import ProtectionRule
from domain.rejects import Refusal, RejectCode
from domain.sessions import SessionClass, session_classes
from domain.time import trade_date


class DayRules:
    """Of these instruments; time is passed in."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = list(instruments)
        self.hours = broker_hours()
        self._day: date | None = None
        self._classes: dict[str, SessionClass] = {}
        self._protection: Sequence[ProtectionSlab] = ()
        self._limit_protection: Sequence[ProtectionRule] = ()

    def unknown(self, now_ns: int) -> Refusal | None:
        """Why nothing can be judged today; None where the rules are known."""
        day = trade_date(now_ns)
        try:
            self._turn_to(day)
        except LookupError:
            return Refusal(RejectCode.RULES_UNKNOWN, limit=day.isoformat())
        return None

    def session_class(self, instrument: Instrument, now_ns: int) -> SessionClass:
        self._turn_to(trade_date(now_ns))
        return self._classes[instrument.instrument_id]

    def protection(self, now_ns: int) -> Sequence[ProtectionSlab]:
        self._turn_to(trade_date(now_ns))
        return self._protection

    def limit_protection(self, now_ns: int) -> Sequence[ProtectionRule]:
        self._turn_to(trade_date(now_ns))
        return self._limit_protection

    def _turn_to(self, day: date) -> None:
        if day != self._day:
            protection, limits = market_protection(day), protection_rules(day)
            self._classes = session_classes(self._instruments, day)
            self._protection, self._limit_protection = protection, limits
            self._day = day
