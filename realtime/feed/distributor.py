"""The distributor: reads the feeds, conflates, and publishes what has changed on the bus.

Invariant: a row changes on the bus at most once a beat, except that a quiet instrument's first tick goes at
once; what Redis did not take, or has forgotten, is published again when it is back. The table never waits for
Redis. Parts of workers/distributor.py, which runs `read`, `watch` and `publish` side by side.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import structlog
from numpy.typing import NDArray
from redis.exceptions import RedisError

from bus.tick_bus import Publisher
from bus.ticks import GROUPS, Ticks, group_of
from realtime import telemetry
from realtime.feed.feed_handler import FeedHandler

BEAT_SECONDS = 0.05
QUIET_NS = 500_000_000
"""An instrument not published for so long is quiet: its next tick does not wait for the beat."""
READ_SECONDS = 0.002
"""Between two reads under load, so that each takes many datagrams."""
CHECK_SECONDS = 0.1
REMEMBER_SECONDS = 1.0
"""How often Redis is asked whether it still knows what was published."""
log = structlog.get_logger()


class Distributor:
    """Of one feed handler an exchange."""

    def __init__(self, publisher: Publisher, handlers: Sequence[FeedHandler]) -> None:
        self._publisher = publisher
        self._outlets = [_Outlet(handler) for handler in handlers]
        self._wake = asyncio.Event()
        self.published = 0
        """Rows, since the start."""

    async def read(self) -> NoReturn:
        """Poll the feeds as their datagrams arrive."""
        sockets = [s.socket for outlet in self._outlets for s in outlet.handler.sockets]
        while True:
            await _readable([sock.fileno() for sock in sockets])
            now_ns = time.monotonic_ns()
            for outlet in self._outlets:
                outlet.handler.poll(now_ns)
                if len(outlet.quiet(now_ns)):
                    self._wake.set()
            await asyncio.sleep(READ_SECONDS)

    async def watch(self) -> NoReturn:
        """Gaps, snapshots and silence, some times a second."""
        while True:
            for outlet in self._outlets:
                outlet.handler.check(time.monotonic_ns())
            await asyncio.sleep(CHECK_SECONDS)

    async def publish(self) -> NoReturn:
        """On every beat what has changed, between two beats what was quiet; everything to an empty Redis."""
        beat = time.monotonic()
        asked = 0.0
        while True:
            try:
                if beat - asked >= REMEMBER_SECONDS:
                    asked = beat
                    await self._recall()
                await self._wait_until(beat + BEAT_SECONDS)
                if time.monotonic() >= beat + BEAT_SECONDS:
                    beat = time.monotonic()
                    await self._send([outlet.changed() for outlet in self._outlets])
                else:
                    await self._send([outlet.quiet(time.monotonic_ns()) for outlet in self._outlets])
            except (RedisError, OSError) as error:
                telemetry.PUBLISH_FAILED.add(1)
                log.warning("publish_failed", error=str(error))
                for outlet in self._outlets:
                    outlet.handler.values.mark_changed()

    async def _recall(self) -> None:
        await self._publisher.beat()
        if not await self._publisher.remembered():
            for outlet in self._outlets:
                outlet.handler.values.mark_changed()

    async def _wait_until(self, moment: float) -> None:
        """Or until a quiet instrument ticks."""
        try:
            async with asyncio.timeout(max(0.0, moment - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _send(self, rows: Sequence[NDArray[np.intp]]) -> None:
        groups: dict[str, Ticks] = {}
        for outlet, numbers in zip(self._outlets, rows, strict=True):
            groups |= outlet.take(numbers)
        if groups:
            await self._publisher.publish(groups)
            count = sum(len(ticks) for ticks in groups.values())
            self.published += count
            telemetry.ROWS_PUBLISHED.add(count)


class _Outlet:
    """What of one exchange is to be told, and since when each row has been quiet."""

    def __init__(self, handler: FeedHandler) -> None:
        self.handler = handler
        self._told_ns = np.full(len(handler.values.tokens), -QUIET_NS, np.int64)
        self._groups = handler.values.tokens % GROUPS

    def changed(self) -> NDArray[np.intp]:
        return self.handler.values.changed()

    def quiet(self, now_ns: int) -> NDArray[np.intp]:
        """Changed rows of instruments that were quiet until now."""
        rows = self.changed()
        return rows[now_ns - self._told_ns[rows] >= QUIET_NS]

    def take(self, rows: NDArray[np.intp]) -> dict[str, Ticks]:
        """These rows by group, told from here on."""
        if not len(rows):
            return {}
        rows = rows[np.argsort(self._groups[rows], kind="stable")]
        self._told_ns[rows] = time.monotonic_ns()
        ticks, groups = self.handler.values.take(rows), self._groups[rows]
        cuts = np.flatnonzero(np.diff(groups)) + 1
        return {
            group_of(self.handler.exchange, int(part["token"][0])): part for part in np.split(ticks, cuts)
        }


async def _readable(descriptors: Sequence[int]) -> None:
    """Until one of them has something to read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    for descriptor in descriptors:
        loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
