"""The market's phases as the exchange gateway announces them, for every client.

A client that connects is told the present ones; after a lost connection to Redis what changed meanwhile is
told. Written by exchange/gateway/writer.py.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage.wakeups import MARKET_STATUS

RETRY_SECONDS = 0.2


class _Phase(msgspec.Struct):
    exchange: str
    segment: str


_decode = msgspec.json.Decoder(_Phase).decode


class MarketStatus:
    """`told(body)` is called in the event loop for each change; `run` must be under way."""

    def __init__(self, redis: Redis, told: Callable[[bytes], None]) -> None:
        self._redis, self._told = redis, told
        self._bodies: dict[tuple[str, str], bytes] = {}

    @property
    def bodies(self) -> list[bytes]:
        """The present phases, an event each."""
        return list(self._bodies.values())

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
                            announced: Any = await self._redis.hvals(MARKET_STATUS)
                            for body in announced:
                                self._take(body)
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, announced: bytes) -> None:
        phase = _decode(announced)
        body = b'{"type":"market_status",' + announced.removeprefix(b"{")
        if self._bodies.get((phase.exchange, phase.segment)) != body:
            self._bodies[phase.exchange, phase.segment] = body
            self._told(body)
