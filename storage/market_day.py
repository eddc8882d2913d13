"""What the database must hold before a day's first order: session classes, and the partitions of the day.

Idempotent, so it is said again at every start and by the day roll. Called by the seed and the operations
worker.
"""

from datetime import date

from storage import instruments
from storage.database import Connection


async def prepare(conn: Connection, day: date) -> None:
    """Instruments in their classes of the day; partitions of it and the next."""
    await instruments.classify(conn, day)
    await conn.execute("SELECT ensure_day(%(day)s::date), ensure_day(%(day)s::date + 1)", {"day": day})
