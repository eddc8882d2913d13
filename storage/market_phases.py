"""What each exchange announced last, kept in memory by a process that asks for every order.

Read anew at every announcement and every `POLL_SECONDS`; a copy that could not be refreshed for
`STALE_SECONDS` knows nothing, and what is not known is refused. Called by the order worker.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.instruments import Instrument
from domain.reports import MarketPhase
from storage import wakeups
from storage.database import Database

POLL_SECONDS = 0.5
STALE_SECONDS = 5.0
log = structlog.get_logger()


_READ = """
    SELECT instrument_id, phase FROM instruments JOIN market_phases USING (exchange, segment, session_class)
"""


class MarketPhases:
    """The phase of each instrument's session class."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._phases: dict[str, MarketPhase] = {}
        self._read_at = -STALE_SECONDS

    def phase(self, instrument: Instrument) -> MarketPhase | None:
        """None: the exchange has not told it, or we cannot know."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            return None
        return self._phases.get(instrument.instrument_id)

    async def refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._database.reading() as conn:
            found = await conn.execute(_READ)
            rows = await found.fetchall()
        self._phases = {row["instrument_id"]: MarketPhase(row["phase"]) for row in rows}
        self._read_at = asked_at


@asynccontextmanager
async def following(phases: MarketPhases, announced: wakeups.Wakeup) -> AsyncIterator[None]:
    """Keep `phases` fresh for as long as the context is open; known at once when it opens."""
    await phases.refresh()
    follower = asyncio.create_task(_follow(phases, announced), name="market phases")
    try:
        yield
    finally:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower


async def _follow(phases: MarketPhases, announced: wakeups.Wakeup) -> None:
    while True:
        await announced.wait(POLL_SECONDS)
        try:
            await phases.refresh()
        except (psycopg.OperationalError, PoolTimeout) as error:
            log.warning("market_phases_unknown", error=str(error))
