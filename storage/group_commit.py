"""Group commit, one batch in flight: whatever arrives while a batch commits is the next one.

A lone caller waits for nobody, a burst shares the round trips and the flush. An answer is given only when its
batch is on disk. One bad value never takes down those that shared its batch: they are then committed one by
one. Used by the intake, and by the order worker's submitting and booking.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from config.crash_points import crash_point
from storage.database import Connection, Database, StoreUnavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
BATCH_MAX = 256


class GroupCommit(Generic[Asked, Answer]):
    """`write` does a whole batch inside one transaction and answers each, in order; an answer that is an
    exception is raised to its caller alone. `after` runs once a batch is durable and answered, in order.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, Sequence[Asked]], Awaitable[Sequence[Answer | Exception]]],
        after: Callable[[Sequence[tuple[Asked, Answer]]], Awaitable[None]] | None = None,
    ) -> None:
        self._database, self._write, self._after = database, write, after
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def commit(self, asked: Asked) -> Answer:
        """The answer, once it is durable. Raises the database's error: the outcome is then unknown."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting(), name="group commit")
        # A caller that goes away does not take its batch with it.
        return await asyncio.shield(future)

    async def _commit_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            try:
                await self._commit(batch)
            except StoreUnavailable as error:
                _fail(batch, error)
            except Exception as error:
                if len(batch) == 1:
                    _fail(batch, error)
                else:
                    await self._one_by_one(batch)

    async def _one_by_one(self, batch: list[tuple[Asked, "asyncio.Future[Answer]"]]) -> None:
        for waiting in batch:
            try:
                await self._commit([waiting])
            except Exception as error:
                _fail([waiting], error)

    async def _commit(self, batch: list[tuple[Asked, "asyncio.Future[Answer]"]]) -> None:
        async with self._database.transaction() as conn:
            answers = await self._write(conn, [asked for asked, _ in batch])
            crash_point("group_commit.before_commit")
        crash_point("group_commit.before_answer")
        done: list[tuple[Asked, Answer]] = []
        for (asked, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                _fail([(None, future)], answer)
                continue
            done.append((asked, answer))
            if not future.done():
                future.set_result(answer)
        if self._after is not None and done:
            # The next batch need not wait until others have been told of this one; they are told in order.
            self._telling = asyncio.create_task(self._tell(self._telling, done), name="group told")

    async def _tell(self, before: "asyncio.Task[None] | None", done: Sequence[tuple[Asked, Answer]]) -> None:
        if before is not None:
            await asyncio.wait([before])
        assert self._after is not None
        await self._after(done)


def _fail(batch: Sequence[tuple[object, "asyncio.Future[Answer]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
