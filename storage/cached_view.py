"""A view of a few rows kept in memory, for a process that asks for every order.

Read anew at every hint and every `POLL_SECONDS`; whoever keeps such a view answers "not known" once it could
not be refreshed for `STALE_SECONDS`. Used for market phases and trading states.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from bus.background import running
from bus.wakeups import Wakeup
from storage.database import StoreUnavailable

POLL_SECONDS = 0.5
STALE_SECONDS = 5.0
log = structlog.get_logger()


class View(Protocol):
    async def refresh(self) -> None:
        """Read the rows."""


@asynccontextmanager
async def following(view: View, hint: Wakeup) -> AsyncIterator[None]:
    """Keep `view` fresh for as long as the context is open; known at once when it opens."""
    await view.refresh()
    async with running(_follow(view, hint), type(view).__name__):
        yield


async def _follow(view: View, hint: Wakeup) -> None:
    while True:
        await hint.wait(POLL_SECONDS)
        try:
            await view.refresh()
        except StoreUnavailable as error:
            log.warning("view_not_refreshed", view=type(view).__name__, error=str(error))
