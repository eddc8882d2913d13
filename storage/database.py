"""The PostgreSQL pool: one transaction a unit of work, committed at the edge that opened it.

Every process opens one pool at start-up. Hot paths write plain SQL on a connection they are given; rows
come back as dicts or as the class the caller names. What a transaction does outside the database it can have
undone when it is rolled back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool


class Connection(AsyncConnection[DictRow]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after_rollback: list[Callable[[], Awaitable[None]]] = []
        """Steps to be taken if the transaction under way is not known to be committed. They raise nothing."""


class Database:
    """A pool of connections with dict rows; `transaction()` is the only way to write."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction: committed on exit, rolled back on an exception.

        Statements travel in a pipeline: only fetching rows waits for the server, so a statement's error may
        be raised by a later one, or at the exit, and `rowcount` is known only after a fetch.
        """
        undoing: list[Callable[[], Awaitable[None]]] = []
        try:
            async with self._pool.connection() as conn, conn.pipeline(), conn.transaction():
                conn.after_rollback = undoing
                yield conn
        except (Exception, asyncio.CancelledError):
            for undo in undoing:
                await undo()
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection in autocommit for a single statement; nothing is left open behind it."""
        async with self._pool.connection() as conn:
            yield conn


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays of an `unnest`: a batch is one statement. There must be at least one row."""
    return [list(column) for column in zip(*rows, strict=True)]


async def _configure(conn: AsyncConnection[Any]) -> None:
    await conn.set_autocommit(True)


@asynccontextmanager
async def open_database(dsn: str, *, size: int = 8, application: str = "hundi") -> AsyncIterator[Database]:
    """A pool of up to `size` connections; raises PoolTimeout when the server cannot be reached in 10 s."""
    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        dsn,
        connection_class=Connection,
        kwargs={"row_factory": dict_row, "application_name": application},
        configure=_configure,
        min_size=min(2, size),
        max_size=size,
        timeout=10,
        open=False,
    )
    async with pool:
        await pool.wait(timeout=10)
        yield Database(pool)
