"""Every connected user's order updates, from Redis to that user's clients and nobody else's.

A gateway subscribes to the channels of its connected users only. An update that comes early waits until those
before it are found in the kept tail or refilled from the audit log; after HEAL_SECONDS the hole is announced.
Redis may be away: the clients stay, and after it is back what was missed is handed out. Called by
realtime/gateway.py; the publishers' side is storage/updates.py.
"""

import asyncio
import time
from contextlib import suppress

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.clients import Client
from realtime.telemetry import update_pushed
from realtime.user_stream import UserStream, replay
from storage import updates
from storage.redis_client import Subscriber
from storage.updates import Cursor

HEAL_SECONDS = 5.0
"""How long a hole may hold up the updates behind it: Redis and those who refill may be starting anew."""
REFILL_SECONDS = 1.0
"""How long an answer to one question for missed updates is waited for."""
RETRY_SECONDS, POLL_SECONDS = 0.1, 5.0
CURSORS_MAX = 1000
_PREFIX = updates.channel(0).removesuffix("0").encode()
log = structlog.get_logger()


class _Frame(msgspec.Struct):
    """What the gateway itself reads of an update."""

    seq: int
    timestamp: str
    traceparent: str = ""


_decode = msgspec.json.Decoder(_Frame).decode


class Updates:
    """The streams of the connected users; `run` must be under way.

    Every `check_seconds` the cursors are held against the record: an update that nobody published is found.
    """

    def __init__(self, redis: Redis, check_seconds: float) -> None:
        self._redis, self._check_seconds = redis, check_seconds
        self._streams: dict[int, UserStream] = {}
        self._pubsub: Subscriber | None = None
        self._check = asyncio.Event()

    async def join(self, client: Client, after_seq: int | None) -> int:
        """Attach a client, from now on or from after a cursor; the seq it has then. Waits for Redis.

        Every join is followed by one `leave`, also one that was cancelled.
        """
        user_id = client.session.user_id
        stream = self._streams.get(user_id)
        if stream is None:
            stream = self._streams[user_id] = UserStream(user_id)
            stream.members.add(client)
            await self._subscribe(stream)
        stream.members.add(client)
        await stream.known.wait()
        if after_seq is not None:
            return await self.replay(client, after_seq)
        stream.clients.add(client)
        return stream.last_seq

    async def leave(self, client: Client) -> None:
        """After the last client of a user nothing of his is taken from Redis any more."""
        stream = self._streams.get(client.session.user_id)
        if stream is None:
            return
        stream.clients.discard(client)
        stream.members.discard(client)
        if not stream.members:
            del self._streams[stream.user_id]
            if stream.healing is not None:
                stream.healing.cancel()
            if self._pubsub is not None:
                with suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(updates.channel(stream.user_id))

    def last_seq(self, user_id: int) -> int | None:
        """The last update a connected user was told of; None before it is known."""
        stream = self._streams.get(user_id)
        return stream.last_seq if stream is not None and stream.known.is_set() else None

    async def replay(self, client: Client, after_seq: int) -> int:
        """Send again what came after a cursor, then go on live; the last seq sent. Waits for Redis."""
        stream = self._streams[client.session.user_id]
        async with client.replaying:
            await stream.known.wait()
            client.held = {}
            stream.clients.add(client)
            kept = await self._kept(stream, after_seq)
            last_seq = stream.last_seq
            frames = {seq: frame for seq, frame in kept.items() if seq <= last_seq} | client.held
            client.held = None
            replay(client, frames, after_seq, last_seq)
        return last_seq

    async def run(self) -> None:
        """Until cancelled; a lost connection is made again and what was missed is read."""
        checking = asyncio.create_task(self._checking(), name="update cursors")
        try:
            while True:
                try:
                    async with Subscriber(self._redis) as pubsub:
                        await self._read_on(pubsub)
                except (RedisError, OSError) as error:
                    log.warning("order updates wait for Redis", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            checking.cancel()

    async def _read_on(self, pubsub: Subscriber) -> None:
        await pubsub.connect()  # type: ignore[no-untyped-call]
        self._pubsub = pubsub
        try:
            if channels := [updates.channel(user_id) for user_id in self._streams]:
                await pubsub.subscribe(*channels)
            while True:
                await self._next(pubsub)
        finally:
            self._pubsub = None

    async def _subscribe(self, stream: UserStream) -> None:
        """A Redis that is away is asked by `run` when it is back."""
        if self._pubsub is not None:
            with suppress(RedisError, OSError):
                await self._pubsub.subscribe(updates.channel(stream.user_id))

    async def _next(self, pubsub: Subscriber) -> None:
        message = await pubsub.get_message(timeout=POLL_SECONDS)
        if message is None:
            return
        stream = self._streams.get(int(message["channel"].removeprefix(_PREFIX)))
        if stream is None or message["type"] == "unsubscribe":
            return
        data = message["data"]
        if message["type"] == "subscribe":
            # The first time the stream begins here; again, and something may have been missed.
            if stream.known.is_set():
                self._check.set()
            self._heal(stream)
        elif data == updates.REFILLED:
            stream.refilled.set()
            self._heal(stream)
        else:
            frame = _decode(data)
            stream.arrived(frame.seq, data)
            update_pushed(frame.timestamp, frame.traceparent)
            if not stream.is_whole:
                self._heal(stream)

    def _heal(self, stream: UserStream) -> None:
        stream.changed = True
        if stream.healing is None or stream.healing.done():
            stream.healing = asyncio.create_task(self._healing(stream), name=f"heal {stream.user_id}")

    async def _healing(self, stream: UserStream) -> None:
        deadline = time.monotonic() + HEAL_SECONDS
        while stream.changed or not stream.is_whole:
            stream.changed = False
            await self._read(stream)
            if stream.is_whole:
                continue
            if time.monotonic() < deadline:
                await self._refill(stream, stream.last_seq if stream.known.is_set() else None)
            elif stream.known.is_set():
                from_seq, to_seq = stream.give_up()
                log.warning("order updates lost", user=stream.user_id, from_seq=from_seq, to_seq=to_seq)
            else:
                stream.begin(0 if not stream.early else min(stream.early) - 1)

    async def _read(self, stream: UserStream) -> None:
        """Take what the tail holds; waits for Redis."""
        while True:
            with suppress(RedisError, OSError):
                if stream.known.is_set():
                    kept = await updates.kept(self._redis, stream.user_id, stream.last_seq)
                    for seq, frame in kept.items():
                        stream.arrived(seq, frame)
                else:
                    last_seq = await updates.last_kept(self._redis, stream.user_id)
                    if last_seq is not None or stream.refilled.is_set():
                        stream.begin(last_seq or 0)
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _kept(self, stream: UserStream, after_seq: int) -> dict[int, bytes]:
        """The kept frames after a cursor, refilled once if some are missing; waits for Redis."""
        asked = False
        while True:
            try:
                found = await updates.kept(self._redis, stream.user_id, after_seq)
                handed_out = sum(seq <= stream.last_seq for seq in found)
                if asked or handed_out >= stream.last_seq - after_seq:
                    return found
                await self._refill(stream, after_seq)
                asked = True
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _refill(self, stream: UserStream, after_seq: int | None) -> None:
        """Ask for what was committed after a cursor and wait a moment for it."""
        stream.refilled.clear()
        await updates.want(self._redis, [Cursor(stream.user_id, after_seq)])
        with suppress(TimeoutError):
            async with asyncio.timeout(REFILL_SECONDS):
                await stream.refilled.wait()

    async def _checking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_seconds):
                    await self._check.wait()
            self._check.clear()
            known = [s for s in self._streams.values() if s.known.is_set()]
            cursors = [Cursor(stream.user_id, stream.last_seq) for stream in known]
            for start in range(0, len(cursors), CURSORS_MAX):
                await updates.want(self._redis, cursors[start : start + CURSORS_MAX])
