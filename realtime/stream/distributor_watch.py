"""The watch over the distributor: while it is not at work, or nobody knows, every price is stale.

The distributor renews ALIVE in Redis, where it expires ALIVE_SECONDS after the last beat; gates and the API
use the same key (bus/last_prices.py). Run by realtime/stream/tick_fanout.py.
"""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.tick_bus import ALIVE_SECONDS
from bus.ticks import ALIVE

LOOK_SECONDS, ANSWER_SECONDS = 0.5, 2.0


class DistributorWatch:
    """Calls `on_change(is_alive)` when that changes; until the first look it is not alive."""

    def __init__(self, redis: Redis, on_change: Callable[[bool], None]) -> None:
        self._redis, self._on_change = redis, on_change
        self._answered_at = float("-inf")
        self.is_alive = False

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once; if Redis has not answered for ALIVE_SECONDS, the distributor counts as dead."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                is_alive = bool(await self._redis.exists(ALIVE))
        except (RedisError, OSError):
            if loop.time() - self._answered_at < ALIVE_SECONDS:
                return
            is_alive = False
        else:
            self._answered_at = loop.time()
        if is_alive != self.is_alive:
            self.is_alive = is_alive
            self._on_change(is_alive)
