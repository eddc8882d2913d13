"""A database whose transactions stop before they lock the ledger, die before they commit, or wait for none.

So one transaction can be held where it would wait for another's lock, with all that it has read and locked,
while other steps run to their ends. A step that would have to wait for it says so at once: it cannot happen.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from storage.database import Connection, Database


class Died(BaseException):
    """The process is gone before it could commit: no handler of an error runs any more."""


class Stop:
    """A place to wait, and what is to happen after it."""

    def __init__(self) -> None:
        self.reached, self._left = asyncio.Event(), asyncio.Event()
        self._dies = False

    async def wait(self) -> None:
        if self.reached.is_set():
            return
        self.reached.set()
        await self._left.wait()
        if self._dies:
            raise Died

    def leave(self, *, dies: bool = False) -> None:
        self._dies = dies
        self._left.set()


class _Watched:
    """A connection that waits at `stop` before its first lock of a ledger row."""

    def __init__(self, conn: Connection, stop: Stop) -> None:
        self._conn, self._stop = conn, stop
        self._began = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    async def execute(self, query: Any, *values: Any, **more: Any) -> Any:
        text = query if isinstance(query, str) else query.decode()
        locks = "margin_ledger" in text and "FOR UPDATE" in text
        # One that has done nothing before might as well begin later.
        if locks and self._began and not self._stop.reached.is_set():
            # What was only queued in the pipeline has to be done before the wait.
            await (await self._conn.execute("SELECT 1")).fetchone()
            await self._stop.wait()
        self._began = True
        return await self._conn.execute(query, *values, **more)


class Pausing(Database):
    """`database`, but: stopping at `stop`, `doomed` to die, or `impatient` of every lock."""

    def __init__(
        self, database: Database, *, stop: Stop | None = None, doomed: bool = False, impatient: bool = False
    ) -> None:
        self._database, self._stop, self._doomed, self._impatient = database, stop, doomed, impatient

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self._database.transaction() as conn:
            if self._impatient:
                await conn.execute("SET LOCAL lock_timeout = 2")
            yield conn if self._stop is None else cast(Connection, _Watched(conn, self._stop))
            if self._doomed:
                raise Died

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        async with self._database.reading() as conn:
            yield conn
