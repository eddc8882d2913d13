"""The instrument list as JSON, made once a trading day: what differs between two requests is which rows.

An instrument whose band the exchange has moved is written anew until it moves again. Called by api/market.py,
in the process that acknowledges orders: a listing takes none of their time.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import NamedTuple

from api.market_responses import Instrument, Permissions
from domain import instruments
from domain.sessions import SessionClass, SessionRules, session_classes

Master = Mapping[str, instruments.Instrument]


class _ListingRow(NamedTuple):
    instrument: instruments.Instrument
    """As it was written."""
    body: bytes


class Listing:
    """`present` answers an instrument with its band as it stands now."""

    def __init__(
        self,
        master: Master,
        present: Callable[[instruments.Instrument], instruments.Instrument],
        rules: SessionRules,
    ) -> None:
        self._master = [master[instrument_id] for instrument_id in sorted(master)]
        self._names = [f"{row.instrument_id}\n{row.name.upper()}" for row in self._master]
        self._present, self._rules = present, rules
        self._day: date | None = None
        self._classes: dict[str, SessionClass] = {}
        self._rows: dict[str, _ListingRow] = {}

    def found(self, wanted: str, limit: int, today: date) -> bytes:
        """The answer: instruments whose id or name contains what is wanted, exact symbols first."""
        if today != self._day:
            self._classes = session_classes(self._master, today)
            self._day, self._rows = today, {}
        wanted = wanted.strip().upper()
        rows = [row for row, names in zip(self._master, self._names, strict=True) if wanted in names]
        rows.sort(key=lambda row: row.symbol != wanted)
        return b'{"instruments":[%b]}' % b",".join(self._body(row, today) for row in rows[:limit])

    def _body(self, listed: instruments.Instrument, today: date) -> bytes:
        now = self._present(listed)
        row = self._rows.get(now.instrument_id)
        if row is None or row.instrument != now:
            session_class = self._classes[now.instrument_id]
            shown = Instrument.of(now, Permissions.by_rules(now, session_class, self._rules, today))
            row = self._rows[now.instrument_id] = _ListingRow(now, shown.model_dump_json().encode())
        return row.body
