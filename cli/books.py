"""The database as a command opens it: asked once before the pool, so that a fault is known at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from storage.database import Database, open_database

CONNECT_SECONDS = 5


@asynccontextmanager
async def opened(dsn: str, application: str) -> AsyncIterator[Database]:
    """Raises psycopg.OperationalError, which says why, where the pool would only say that it waited."""
    asked = await psycopg.AsyncConnection.connect(dsn, connect_timeout=CONNECT_SECONDS)
    await asked.close()
    async with open_database(dsn, size=2, application=application) as database:
        yield database
