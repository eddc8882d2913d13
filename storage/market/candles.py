"""One-minute candles at rest, and how the parts of one minute become one candle.

Invariant: writing a candle twice, or its parts from before and after a restart in the order in which they
were built, gives the same row: its volumes are running totals at both ends, never sums. Written by the
distributor's process every few seconds, the current minute's too; read by the API.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg.rows import DictRow

from storage.database import Database


class Candle(NamedTuple):
    """Prices in paise; volumes are the feed's totals before the minute's first trade and after its last."""

    instrument_id: str
    minute_ns: int
    open: int
    high: int
    low: int
    close: int
    opening_volume: int
    closing_volume: int


async def write(database: Database, candles: Sequence[Candle]) -> None:
    """Keep new candles and join the parts of known ones; no candle may be there twice."""
    if not candles:
        return
    async with database.transaction() as conn:
        await conn.execute(
            """INSERT INTO candles AS kept
               SELECT * FROM unnest(%s::varchar[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                                    %s::bigint[], %s::bigint[], %s::bigint[])
               ON CONFLICT (instrument_id, minute_ns) DO UPDATE SET
                   high = greatest(kept.high, excluded.high),
                   low = least(kept.low, excluded.low),
                   close = excluded.close,
                   opening_volume = least(kept.opening_volume, excluded.opening_volume),
                   closing_volume = greatest(kept.closing_volume, excluded.closing_volume)""",
            [list(column) for column in zip(*candles, strict=True)],
        )


async def read(database: Database, instrument_id: str, from_ns: int, to_ns: int, limit: int) -> list[DictRow]:
    """Candles of minutes that begin in [from_ns, to_ns), oldest first, at most `limit`."""
    async with database.reading() as conn:
        found = await conn.execute(
            """SELECT minute_ns, open, high, low, close, closing_volume - opening_volume AS volume
               FROM candles
               WHERE instrument_id = %s AND minute_ns >= %s AND minute_ns < %s
               ORDER BY minute_ns LIMIT %s""",
            (instrument_id, from_ns, to_ns, limit),
        )
        return await found.fetchall()
