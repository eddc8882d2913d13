"""What must stand before a day's first order: its instruments, its partitions, the margin views.

Idempotent, so it is said again at every start and by the day roll. Called by the seed and the operations
worker.
"""

import asyncio
from datetime import date

from storage.database import Connection, Database
from storage.margin.view import MarginView
from storage.market import instruments

WARMED_AT_ONCE = 500
"""Accounts asked about in one round trip."""
REBUILT_AT_ONCE = 4
"""Each holds a connection and its ledger row's lock meanwhile."""


async def prepare(conn: Connection, day: date) -> None:
    """The day's instruments in their session classes; partitions of the day and the next."""
    await instruments.list_contracts(conn, day)
    await instruments.classify(conn, day)
    await conn.execute("SELECT ensure_day(%(day)s::date), ensure_day(%(day)s::date + 1)", {"day": day})


async def warm(database: Database, view: MarginView) -> int:
    """Load the margin view of every account that has none, before an order waits for it; how many were."""
    async with database.reading() as conn:
        found = await conn.execute("SELECT user_id FROM margin_ledger ORDER BY user_id")
        user_ids = [row["user_id"] for row in await found.fetchall()]
    free = asyncio.Semaphore(REBUILT_AT_ONCE)

    async def load(user_id: int) -> None:
        async with free:
            await view.ensure(user_id)

    cold: list[int] = []
    for at in range(0, len(user_ids), WARMED_AT_ONCE):
        batch = user_ids[at : at + WARMED_AT_ONCE]
        views = await view.accounts(batch)
        cold += [user_id for user_id, account in zip(batch, views, strict=True) if account is None]
    await asyncio.gather(*(load(user_id) for user_id in cold))
    return len(cold)
