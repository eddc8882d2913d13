"""Underlyings whose derivatives may only be reduced on a day; read by the risk gate in its own statement.

Said again, a day's list replaces the one before. Called by `hundi ban-list`.
"""

from collections.abc import Iterable
from datetime import date

from storage.database import Connection


async def replace(conn: Connection, day: date, underlyings: Iterable[str]) -> None:
    """`underlyings` are instrument ids such as NSE:SAIL."""
    await conn.execute("DELETE FROM derivative_bans WHERE trade_date = %s", (day,))
    await conn.execute(
        "INSERT INTO derivative_bans (trade_date, underlying) SELECT DISTINCT %s::date, unnest(%s::text[])",
        (day, list(underlyings)),
    )
