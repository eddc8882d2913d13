"""What an exchange tells everybody, kept as its last word: the phase of its sessions, a band that it moved.

An announcement that comes late changes nothing. Written in the transaction of the reports that it came with
(storage/journals/inbox.py), read by storage/market/phases.py.
"""

from domain.reports import Announcement, SessionPhase
from domain.sessions import SessionClass
from storage.database import Connection

_PHASE = """
    INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns, scheduled_ns)
    SELECT %s, %s, unnest(%s::text[]), %s, %s, %s
    ON CONFLICT (exchange, segment, session_class)
        DO UPDATE SET phase = excluded.phase, since_ns = excluded.since_ns,
            scheduled_ns = excluded.scheduled_ns
    WHERE market_phases.since_ns <= excluded.since_ns
"""
_BAND = """
    INSERT INTO price_bands (instrument_id, low, high, since_ns) VALUES (%s, %s, %s, %s)
    ON CONFLICT (instrument_id)
        DO UPDATE SET low = excluded.low, high = excluded.high, since_ns = excluded.since_ns
    WHERE price_bands.since_ns <= excluded.since_ns
"""


async def keep(conn: Connection, told: Announcement) -> None:
    """Unless a later one is known."""
    if isinstance(told, SessionPhase):
        # An exchange that names no class speaks for all of the segment.
        classes = [c for c in SessionClass if c.segment == told.segment]
        named = [told.session_class] if told.session_class else [c.value for c in classes]
        begun = (told.phase, told.since_ns, told.scheduled_ns)
        await conn.execute(_PHASE, (told.exchange, told.segment, named, *begun))
    else:
        await conn.execute(_BAND, (f"{told.exchange}:{told.symbol}", told.low, told.high, told.since_ns))
