"""What each exchange announced last, phases and bands, kept in memory by a process that asks for every order.

Kept fresh by storage/cached_view.py at every announcement; a copy that could not be refreshed for
`STALE_SECONDS` knows nothing, and what is not known is refused. Called by the order worker.
"""

import time
from dataclasses import dataclass, replace

from psycopg.rows import DictRow

from domain.instruments import Instrument
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.time import trade_date
from storage.cached_view import STALE_SECONDS
from storage.database import Database

_ANNOUNCED = "SELECT * FROM market_phases ORDER BY exchange, segment, session_class"
_READ = """
    SELECT instrument_id, phase FROM instruments JOIN market_phases USING (exchange, segment, session_class)
"""
_BANDS = "SELECT instrument_id, low, high, since_ns FROM price_bands"
_CLOCKS = """
    SELECT exchange, max(scheduled_ns) AS scheduled_ns, bool_and(scheduled_ns = since_ns) AS real
    FROM market_phases WHERE scheduled_ns IS NOT NULL GROUP BY exchange
"""


@dataclass(frozen=True, slots=True)
class ClassPhase:
    """Where one exchange's session class is in its day."""

    exchange: str
    session_class: SessionClass
    phase: MarketPhase
    market_ns: int | None
    """What the exchange's day has come to; None while it keeps no hours."""


class MarketPhases:
    """The phase of each instrument's session class, and the bands that have moved."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._announced: list[DictRow] = []
        self._phases: dict[str, MarketPhase] = {}
        self._bands: dict[str, tuple[int, int, int]] = {}
        """By instrument: low, high, and since when."""
        self._clocks: dict[str, tuple[int, bool]] = {}
        """By exchange: the last moment of its day that it told, and whether its day is the clock's."""
        self._read_at = -STALE_SECONDS

    def phase(self, instrument: Instrument) -> MarketPhase | None:
        """None: the exchange has not told it, or we cannot know."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            return None
        return self._phases.get(instrument.instrument_id)

    async def asked(self, instrument: Instrument) -> MarketPhase | None:
        """As `phase`, but read anew when the copy is too old: a starved process refuses nobody for that."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            await self.refresh()
        return self.phase(instrument)

    def present(self, instrument: Instrument) -> Instrument:
        """The instrument with its band as it stands: the master's, unless the exchange has moved it today."""
        moved = self._bands.get(instrument.instrument_id)
        if moved is None or trade_date(moved[2]) != trade_date(time.time_ns()):
            return instrument
        return replace(instrument, lower_band=moved[0], upper_band=moved[1])

    def market_time_ns(self, exchange: str, now_ns: int) -> int | None:
        """What the exchange's own day has come to; None while it keeps no hours.

        In a day that is played in minutes, the last moment that any class of the exchange entered a phase.
        """
        told = self._clocks.get(exchange)
        if told is None:
            return None
        last_ns, is_real = told
        return now_ns if is_real else last_ns

    def classes(self, now_ns: int) -> list[ClassPhase]:
        """Every session class of which a phase is known."""
        return [
            ClassPhase(
                row["exchange"],
                SessionClass(row["session_class"]),
                MarketPhase(row["phase"]),
                self.market_time_ns(row["exchange"], now_ns),
            )
            for row in self._announced
            if row["session_class"] in set(SessionClass)
        ]

    async def refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._database.reading() as conn:
            announced = await (await conn.execute(_ANNOUNCED)).fetchall()
            bands = await (await conn.execute(_BANDS)).fetchall()
            # Hundreds of instruments, twice a second, in a process with orders on its hands: only if it must.
            if announced != self._announced:
                rows = await (await conn.execute(_READ)).fetchall()
                clocks = await (await conn.execute(_CLOCKS)).fetchall()
                self._phases = {row["instrument_id"]: MarketPhase(row["phase"]) for row in rows}
                self._clocks = {row["exchange"]: (row["scheduled_ns"], row["real"]) for row in clocks}
                self._announced = announced
        self._bands = {row["instrument_id"]: (row["low"], row["high"], row["since_ns"]) for row in bands}
        self._read_at = asked_at
