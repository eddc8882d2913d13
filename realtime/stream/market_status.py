"""The market's phases as the exchange gateway announces them, for every client.

A client that connects gets the present ones. After a lost connection to Redis the changes since then are
sent, and a Redis that lost the phases gets back those known here. Published by bus/market_status.py.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.market_status import field
from bus.wakeups import MARKET_STATUS

RETRY_SECONDS = 0.2


class MarketStatusStream:
    """Calls `on_change(frame)` in the event loop for each change; `run` must be under way."""

    def __init__(self, redis: Redis, on_change: Callable[[bytes], None]) -> None:
        self._redis, self._on_change = redis, on_change
        self._phases: dict[str, bytes] = {}
        """The last announced phase by its field, as it is in Redis."""

    @property
    def frames(self) -> list[bytes]:
        """A `market_status` frame for each present phase."""
        return [_frame(phase) for phase in self._phases.values()]

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            with suppress(RedisError, OSError):
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(MARKET_STATUS)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._apply(message["data"])
                        else:
                            await self._synchronize()
            await asyncio.sleep(RETRY_SECONDS)

    async def _synchronize(self) -> None:
        """Give Redis the phases that it lost, and read those that it has."""
        for name, phase in self._phases.items():
            await self._redis.hsetnx(MARKET_STATUS, name, phase)
        phases: Any = await self._redis.hvals(MARKET_STATUS)
        for phase in phases:
            self._apply(phase)

    def _apply(self, phase: bytes) -> None:
        name = field(phase)
        if self._phases.get(name) != phase:
            self._phases[name] = phase
            self._on_change(_frame(phase))


def _frame(phase: bytes) -> bytes:
    """A MarketStatusFrame: an AnnouncedPhase with its `type`."""
    return b'{"type":"market_status",' + phase.removeprefix(b"{")
