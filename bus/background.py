"""A task beside a context: it runs until the context is left, and is over when that is.

For loops that do nothing on their own account once nobody needs them: followers, listeners, heartbeats.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

AGAIN_SECONDS = 2.0
"""Longer than any task of ours takes to put its things in order."""


@asynccontextmanager
async def running(work: Coroutine[None, None, None], name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """The task; an error it died of is raised when the context is left."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        await end(task)
        with suppress(asyncio.CancelledError):
            await task


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they are over; raises nothing that they died of.

    Asks again: before Python 3.12 asyncio.wait_for, in which a pool waits for a connection, may lose a
    cancellation (python/cpython#86296), and its task went on for ever.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
