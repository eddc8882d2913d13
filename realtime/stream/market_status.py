"""The market's phases as the exchange gateway announces them, for every client.

A client that connects is told the present ones; after a lost connection to Redis what changed meanwhile is
told, and a Redis that lost them is given back what is known here. Published by bus/market_status.py.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.market_status import field
from bus.wakeups import MARKET_STATUS

RETRY_SECONDS = 0.2


_decode = msgspec.json.Decoder(dict[str, Any]).decode


class MarketStatusStream:
    """`told(body)` is called in the event loop for each change; `run` must be under way."""

    def __init__(self, redis: Redis, told: Callable[[bytes], None]) -> None:
        self._redis, self._told = redis, told
        self._announced: dict[str, bytes] = {}

    @property
    def bodies(self) -> list[bytes]:
        """The present phases, an event each."""
        return [_event(announced) for announced in self._announced.values()]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(RedisError, OSError):
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(MARKET_STATUS)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._take(message["data"])
                        else:
                            await self._agree()
            await asyncio.sleep(RETRY_SECONDS)

    async def _agree(self) -> None:
        for name, announced in self._announced.items():
            await self._redis.hsetnx(MARKET_STATUS, name, announced)
        found: Any = await self._redis.hvals(MARKET_STATUS)
        for announced in found:
            self._take(announced)

    def _take(self, announced: bytes) -> None:
        name = field(_decode(announced))
        if self._announced.get(name) != announced:
            self._announced[name] = announced
            self._told(_event(announced))


def _event(announced: bytes) -> bytes:
    return b'{"type":"market_status",' + announced.removeprefix(b"{")
