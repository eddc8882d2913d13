"""Square-offs that were missed: on record with their alert, until nothing of them is left open.

The record says which positions were to be closed: those that were open at an instant, so that what a client
opens the next morning is not closed with them. Called by workers/square_off.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from domain.events import AlertKind
from domain.sessions import SessionClass
from domain.wind_down import OpenPosition
from storage.database import Connection, Database
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

ACTOR = "square-off-watch"
NAMED_MAX = 20
"""Instruments that an alert names."""

_OPEN = """
    SELECT id, exchange, session_class, day, before_ns FROM missed_square_offs
    WHERE closed_at_ns IS NULL ORDER BY id
"""
_ADD = """
    INSERT INTO missed_square_offs (exchange, session_class, day, before_ns) VALUES (%s, %s, %s, %s)
    ON CONFLICT (exchange, session_class) WHERE closed_at_ns IS NULL DO NOTHING RETURNING id
"""
_CLOSE = "UPDATE missed_square_offs SET closed_at_ns = %s WHERE id = %s AND closed_at_ns IS NULL"


@dataclass(frozen=True, slots=True)
class MissedSquareOff:
    id: int
    exchange: str
    session_class: str
    day: date
    before_ns: int
    """What was open then is to be closed."""


async def missed(database: Database) -> list[MissedSquareOff]:
    """Those of which something is left."""
    async with database.reading() as conn, conn.cursor(row_factory=class_row(MissedSquareOff)) as cursor:
        await cursor.execute(_OPEN)
        return await cursor.fetchall()


async def record(
    conn: Connection,
    exchange: str,
    session_class: SessionClass,
    day: date,
    before_ns: int,
    left: Sequence[OpenPosition],
) -> RiskAlert | None:
    """Put it on record; None when one of the class is on record already. Tell after the commit."""
    added = await conn.execute(_ADD, (exchange, session_class, day, before_ns))
    if await added.fetchone() is None:
        return None
    users = len({position.user_id for position in left})
    sentence = (
        f"{len(left)} intraday positions of {users} clients in {exchange} {session_class} were not squared"
        f" off on {day}: the market takes no closing orders now. They are closed as soon as it does."
    )
    detail = {
        "exchange": exchange,
        "session_class": session_class,
        "day": day.isoformat(),
        "positions": len(left),
        "instruments": sorted({position.instrument_id for position in left})[:NAMED_MAX],
    }
    alert = RiskAlert(AlertKind.SQUARE_OFF_MISSED, sentence, detail=detail)
    await risk_alerts.record(conn, [alert], ACTOR)
    return alert


async def close(database: Database, one: MissedSquareOff, now_ns: int) -> None:
    """Nothing of it is left open."""
    async with database.transaction() as conn:
        await conn.execute(_CLOSE, (now_ns, one.id))
