"""Underlyings whose derivatives may only be reduced on a day; read by the risk gate in its own statement.

Said again, a day's list replaces the one before. Called by `hundi ban-list`.
"""

from collections.abc import Iterable
from datetime import date

from domain.events import RecordEvent
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection
from storage.risk.trading_states import RiskAction


async def replace(conn: Connection, day: date, underlyings: Iterable[str], word: RiskAction) -> None:
    """`underlyings` are instrument ids such as NSE:SAIL. On record as the word of who brings the list."""
    named = sorted(set(underlyings))
    await conn.execute("DELETE FROM derivative_bans WHERE trade_date = %s", (day,))
    await conn.execute(
        "INSERT INTO derivative_bans (trade_date, underlying) SELECT DISTINCT %s::date, unnest(%s::text[])",
        (day, named),
    )
    detail = {"trade_date": day.isoformat(), "underlyings": named, "reason": word.reason}
    entry = AuditEntry(word.at_ns, word.user_id, RecordEvent.BANS_SET, word.actor, detail=detail)
    await audit.append(conn, [audit.coming_from(word.origin, entry)])
