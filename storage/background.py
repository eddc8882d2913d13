"""A task beside a context: it runs until the context is left, and is over when that is.

For loops that do nothing on their own account once nobody needs them: followers, listeners, heartbeats.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def running(work: Coroutine[None, None, None], name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """The task; an error it died of is raised when the context is left."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
