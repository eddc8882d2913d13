"""The database as a command opens it: checked once before the pool, so that a fault is known at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.database import Database, check, open_database

CONNECT_SECONDS = 5


@asynccontextmanager
async def opened(dsn: str, application: str) -> AsyncIterator[Database]:
    """Open the database; raises StoreUnavailable, which says why the server does not answer."""
    await check(dsn, CONNECT_SECONDS)
    async with open_database(dsn, size=2, application=application) as database:
        yield database
