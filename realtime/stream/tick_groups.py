"""The groups of the tick bus that a gateway is subscribed to, each while a client wants an instrument of it.

Invariant: a group that no client wants is closed, also one whose opening was cut off; unsubscribing never
waits for Redis. Called by realtime/stream/tick_fanout.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from redis.asyncio import Redis

from bus.tick_bus import Watcher
from bus.ticks import Ticks


class TickGroups:
    """Calls `on_rows` with the latest rows of a group that is opened, and with all later ones."""

    def __init__(self, redis: Redis, on_rows: Callable[[str, Ticks], None]) -> None:
        self._bus, self._on_rows = Watcher(redis, on_rows), on_rows
        self._wanted: Counter[str] = Counter()
        self._open: set[str] = set()
        """Groups whose latest rows have been delivered."""
        self._one_at_a_time = asyncio.Lock()
        self._unwanted = asyncio.Event()

    def want(self, group: str) -> None:
        """Count one more instrument of one client."""
        self._wanted[group] += 1

    def unwant(self, group: str) -> None:
        self._wanted[group] -= 1
        if not self._wanted[group]:
            self._unwanted.set()

    async def open(self, groups: Iterable[str]) -> None:
        """Return when the latest rows of the groups still wanted are delivered; waits for Redis."""
        for group in groups:
            async with self._one_at_a_time:
                if self._wanted[group] and group not in self._open:
                    rows = await self._bus.watch(group)
                    self._open.add(group)
                    self._on_rows(group, rows)

    async def run(self) -> None:
        """Read the bus until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bus.run(), name="tick bus")
            tasks.create_task(self._close_unwanted(), name="unwanted groups")

    async def _close_unwanted(self) -> None:
        while True:
            await self._unwanted.wait()
            self._unwanted.clear()
            async with self._one_at_a_time:
                for group in [group for group in self._bus.groups if not self._wanted[group]]:
                    self._open.discard(group)
                    await self._bus.unwatch(group)
