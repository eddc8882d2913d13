"""The tick bus between distributor and gateways: packed rows by instrument group over Redis.

Invariant: what `ticks:{NSE:17}:latest` holds was published on `ticks:{NSE:17}`, and a watcher is subscribed
before it reads the latest rows, so between the two no row is missed. A row is the whole state of its
instrument and the last one wins. Sharded publish, so that a cluster carries each group on one node only.
Written by the distributor, read by the realtime gateways, each of the groups its clients watch.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.redis_client import Subscriber
from bus.ticks import ALIVE, TICK, Ticks, channel, latest

RETRY_SECONDS = 0.2
ALIVE_SECONDS = 5
"""Prices are unknown so long after the distributor died."""
_KEPT = "ticks:kept"
"""Set as long as Redis has its memory."""
POLL_SECONDS = 5.0
"""How long a read of the subscription blocks; between two reads the client checks its connection."""


class Publisher:
    """The distributor's side."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, rows_by_group: Mapping[str, Ticks]) -> None:
        """Keep and publish the rows, in one round trip. Raises RedisError when Redis is away."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for group, rows in rows_by_group.items():
                packed = rows.tobytes()
                cuts = range(0, len(packed), TICK.itemsize)
                fields = zip(rows["token"].tolist(), cuts, strict=True)
                pairs = (part for token, cut in fields for part in (token, packed[cut : cut + TICK.itemsize]))
                pipe.execute_command("HSET", latest(group), *pairs)
                pipe.execute_command("SPUBLISH", channel(group), packed)
            if len(pipe):
                await pipe.execute()

    async def beat(self) -> None:
        """Say that the distributor is at work. Raises RedisError when Redis is away."""
        await self._redis.set(ALIVE, b"", ex=ALIVE_SECONDS)

    async def remembered(self) -> bool:
        """Does Redis still hold what was published? False once after it has lost its memory or is new."""
        return not await self._redis.set(_KEPT, b"", nx=True)


class Watcher:
    """A gateway's side; `run` must be under way. `on_rows(group, rows)` is called in the event loop."""

    def __init__(self, redis: Redis, on_rows: Callable[[str, Ticks], None]) -> None:
        self._redis, self._on_rows = redis, on_rows
        self._pubsub: Subscriber | None = None
        self._subscribed: dict[str, asyncio.Event] = {}
        self._one_at_a_time = asyncio.Lock()
        self._early: dict[str, list[Ticks]] = {}
        """Rows of a group whose latest rows are still being read."""

    @property
    def groups(self) -> list[str]:
        """Those that are watched, or whose watch was ended half-way."""
        return list(self._subscribed)

    async def watch(self, group: str) -> Ticks:
        """Subscribe, then the group's latest rows, none for an empty group; waits while Redis is away.

        `on_rows` is not called for the group before this returns, and for every later message after it.
        """
        async with self._one_at_a_time:
            early = self._early[group] = []
            try:
                subscribed = self._subscribed.get(group)
                if subscribed is None:
                    subscribed = self._subscribed[group] = asyncio.Event()
                    await self._subscribe([group])
                await subscribed.wait()
                rows = await self._latest_rows(group)
            finally:
                self._early.pop(group, None)
            return _last_of_each([rows, *early])

    async def unwatch(self, group: str) -> None:
        """No more calls for the group from here on."""
        if (subscribed := self._subscribed.pop(group, None)) is None:
            return
        subscribed.set()
        if self._pubsub is not None:
            with suppress(RedisError, OSError):
                await self._pubsub.sunsubscribe(channel(group))

    async def run(self) -> None:
        """Until cancelled. After a reconnect every watched group is subscribed and delivered anew."""
        while True:
            with suppress(RedisError, OSError):
                async with Subscriber(self._redis) as self._pubsub:
                    await self._subscribe(self._subscribed)
                    while True:
                        await self._next(self._pubsub)
            self._pubsub = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribe(self, groups: Iterable[str]) -> None:
        """Ask for the groups; a Redis that is away is asked by `run` when it is back."""
        if self._pubsub is not None and (channels := [channel(group) for group in groups]):
            with suppress(RedisError, OSError):
                await self._pubsub.ssubscribe(*channels)

    async def _next(self, pubsub: Subscriber) -> None:
        message = await pubsub.get_message(timeout=POLL_SECONDS)
        if message is None or message["type"] not in ("smessage", "ssubscribe"):
            return
        group = message["channel"].decode().removeprefix("ticks:{").removesuffix("}")
        if (subscribed := self._subscribed.get(group)) is None:
            return
        if message["type"] == "smessage":
            self._deliver(group, np.frombuffer(message["data"], TICK))
        elif subscribed.is_set():
            # Not the first time: the connection was away and rows may have been missed.
            self._deliver(group, await self._latest_rows(group))
        else:
            subscribed.set()

    def _deliver(self, group: str, rows: Ticks) -> None:
        if (early := self._early.get(group)) is not None:
            early.append(rows)
        elif len(rows):
            self._on_rows(group, rows)

    async def _latest_rows(self, group: str) -> Ticks:
        while True:
            with suppress(RedisError, OSError):
                rows: Any = await self._redis.hvals(latest(group))
                return np.frombuffer(b"".join(rows), TICK)
            await asyncio.sleep(RETRY_SECONDS)


def _last_of_each(parts: list[Ticks]) -> Ticks:
    """The last row of each instrument, in the order of tokens."""
    rows = np.concatenate(parts)
    _, from_the_end = np.unique(rows["token"][::-1], return_index=True)
    return rows[len(rows) - 1 - from_the_end]
