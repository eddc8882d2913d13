"""What each exchange announced last, kept in memory by a process that asks for every order.

Kept fresh by storage/following.py at every announcement; a copy that could not be refreshed for
`STALE_SECONDS` knows nothing, and what is not known is refused. Called by the order worker.
"""

import time

from psycopg.rows import DictRow

from domain.instruments import Instrument
from domain.reports import MarketPhase
from storage.database import Database
from storage.following import STALE_SECONDS

_ANNOUNCED = "SELECT exchange, segment, session_class, phase FROM market_phases ORDER BY 1, 2, 3"
_READ = """
    SELECT instrument_id, phase FROM instruments JOIN market_phases USING (exchange, segment, session_class)
"""


class MarketPhases:
    """The phase of each instrument's session class."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._announced: list[DictRow] = []
        self._phases: dict[str, MarketPhase] = {}
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

    async def refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._database.reading() as conn:
            announced = await (await conn.execute(_ANNOUNCED)).fetchall()
            # Hundreds of instruments, twice a second, in a process with orders on its hands: only if it must.
            if announced != self._announced:
                rows = await (await conn.execute(_READ)).fetchall()
                self._phases = {row["instrument_id"]: MarketPhase(row["phase"]) for row in rows}
                self._announced = announced
        self._read_at = asked_at
