"""Python's cycle collector beside thousands of connections.

A full collection looks at every object there is: 350 ms at 9,000 connections, some times a minute, in which
nobody is told anything. What has lived for a moment is therefore frozen, out of the collector's sight, which
costs nothing; an object that is no longer referred to is freed as always. Only a cycle that dies after it was
frozen stays, until nobody is connected: connections leave none (tests/realtime/test_collector.py).
"""

import asyncio
import gc
from collections.abc import Callable
from typing import NoReturn

FREEZE_SECONDS = 1.0
YOUNG_OBJECTS = 10_000
"""Since the last collection before the next: most of a push's objects die without one."""


async def tend(is_empty: Callable[[], bool]) -> NoReturn:
    """Until cancelled; `is_empty` says that nobody is connected."""
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
    was_empty = False
    while True:
        if is_empty() and not was_empty:
            gc.unfreeze()
        was_empty = is_empty()
        # What has come since the last time, or everything when nobody is there to wait.
        gc.collect()
        gc.freeze()
        await asyncio.sleep(FREEZE_SECONDS)
