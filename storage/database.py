"""The PostgreSQL pool: one transaction a unit of work, committed at the edge that opened it.

Every process opens one pool at start-up. Hot paths write plain SQL on the connection that they are given;
rows come back as dicts, or as the class that the caller names. A transaction may register steps that undo
its effects outside the database when it is rolled back. No module above storage knows the driver: a server
that is away, or goes away during a transaction, raises `StoreUnavailable`; a value that the server refuses
raises one of `REFUSED_VALUES`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import AsyncConnection, DataError, IntegrityError, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

REFUSED_VALUES = (DataError, IntegrityError)
"""Errors by which PostgreSQL refuses a value or a row, and nothing else is wrong."""


class StoreUnavailable(OperationalError):
    """PostgreSQL cannot be reached, or ended the transaction; whether it was committed is not known.

    Its cause is the driver's error; it is one itself, so that code in storage may catch either.
    """


class Connection(AsyncConnection[DictRow]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after_rollback: list[Callable[[], Awaitable[None]]] = []
        """Steps to run if the transaction under way is not known to be committed. They raise nothing."""


class Database:
    """A pool of connections with dict rows; `transaction()` is the only way to write."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open one transaction: committed on exit, rolled back on an exception.

        Statements travel in a pipeline: only fetching rows waits for the server, so a statement's error may
        be raised by a later one, or at the exit, and `rowcount` is known only after a fetch. Raises
        StoreUnavailable at the exit, also for an error of the driver that was raised inside.
        """
        undoing: list[Callable[[], Awaitable[None]]] = []
        try:
            async with self._pool.connection() as conn, conn.pipeline(), conn.transaction():
                conn.after_rollback = undoing
                yield conn
        except (Exception, asyncio.CancelledError) as error:
            for undo in undoing:
                await undo()
            if isinstance(error, OperationalError) and not isinstance(error, StoreUnavailable):
                raise StoreUnavailable(str(error)) from error
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Open a connection in autocommit for single statements. Raises StoreUnavailable."""
        with _as_unavailable():
            async with self._pool.connection() as conn:
                yield conn

    async def ping(self) -> None:
        """Make one round trip; raises StoreUnavailable."""
        async with self.reading() as conn:
            await conn.execute("SELECT 1")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable:
        raise
    except OperationalError as error:
        raise StoreUnavailable(str(error)) from error


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Turn rows (at least one) into the arrays of an `unnest`, so that a batch is one statement."""
    return [list(column) for column in zip(*rows, strict=True)]


async def check(dsn: str, seconds: int) -> None:
    """Connect once, without a pool; raises StoreUnavailable, which says why, where a pool only times out."""
    with _as_unavailable():
        probe = await AsyncConnection.connect(dsn, connect_timeout=seconds)
    await probe.close()


async def _configure(conn: AsyncConnection[Any]) -> None:
    await conn.set_autocommit(True)


@asynccontextmanager
async def open_database(dsn: str, *, size: int = 8, application: str = "hundi") -> AsyncIterator[Database]:
    """Open a pool of up to `size` connections; raises StoreUnavailable after 10 s without a server."""
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
        with _as_unavailable():
            await pool.wait(timeout=10)
        yield Database(pool)
