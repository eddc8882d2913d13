"""The groups of the tick bus that a gateway takes, each while some client wants an instrument of it.

Invariant: a group that nobody wants is given back, also one that was taken half-way; who wants nothing more
waits for nobody. Called by realtime/stream/tick_fanout.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from redis.asyncio import Redis

from bus.tick_bus import Watcher
from bus.ticks import Ticks


class TickGroups:
    """`on_rows` is called with the latest rows of a group that is taken, and with all that follow."""

    def __init__(self, redis: Redis, on_rows: Callable[[str, Ticks], None]) -> None:
        self._bus, self._on_rows = Watcher(redis, on_rows), on_rows
        self._wanted: Counter[str] = Counter()
        self._taken: set[str] = set()
        """Their latest rows have been delivered."""
        self._one_at_a_time = asyncio.Lock()
        self._unwanted = asyncio.Event()

    def want(self, group: str) -> None:
        """For one instrument of one client."""
        self._wanted[group] += 1

    def unwant(self, group: str) -> None:
        self._wanted[group] -= 1
        if not self._wanted[group]:
            self._unwanted.set()

    async def take(self, groups: Iterable[str]) -> None:
        """Until the latest rows of those that are still wanted have been delivered; waits for Redis."""
        for group in groups:
            async with self._one_at_a_time:
                if self._wanted[group] and group not in self._taken:
                    rows = await self._bus.watch(group)
                    self._taken.add(group)
                    self._on_rows(group, rows)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bus.run(), name="tick bus")
            tasks.create_task(self._give_back(), name="unwanted groups")

    async def _give_back(self) -> None:
        while True:
            await self._unwanted.wait()
            self._unwanted.clear()
            async with self._one_at_a_time:
                for group in [group for group in self._bus.groups if not self._wanted[group]]:
                    self._taken.discard(group)
                    await self._bus.unwatch(group)
