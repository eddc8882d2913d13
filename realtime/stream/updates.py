"""Every connected user's order updates, from Redis to that user's clients and nobody else's.

A gateway subscribes to the channels of its connected users only. An update that comes early waits until those
before it are found (realtime/stream/update_healing.py). Redis may be away: the clients stay, and when it is
back they get what they missed. Called by realtime/stream/gateway.py; the publishers' side is
bus/order_updates.py.
"""

import asyncio
from contextlib import suppress

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates
from bus.order_updates import Cursor
from bus.redis_client import Subscriber
from realtime.stream.clients import Client
from realtime.stream.record_queries import RecordQueries
from realtime.stream.update_healing import RETRY_SECONDS, Healing
from realtime.stream.user_stream import UserStream, replay
from realtime.telemetry import update_pushed

POLL_SECONDS = 5.0
_PREFIX = order_updates.channel(0).removesuffix("0").encode()
log = structlog.get_logger()


class _UpdateFrame(msgspec.Struct):
    """The members of an OrderUpdateFrame that the gateway itself reads."""

    seq: int
    timestamp: str
    traceparent: str = ""


_decode = msgspec.json.Decoder(_UpdateFrame).decode


class Updates:
    """The streams of the connected users; `run` must be under way.

    Every `check_seconds` the cursors are compared with the record, which finds unpublished updates.
    """

    def __init__(self, redis: Redis, check_seconds: float) -> None:
        self._redis, self._check_seconds = redis, check_seconds
        self._streams: dict[int, UserStream] = {}
        self._pubsub: Subscriber | None = None
        self._check = asyncio.Event()
        self._record = RecordQueries(redis)
        self._healing = Healing(redis, self._record)

    async def join(self, client: Client, after_seq: int | None) -> int:
        """Attach a client, from now on or from after a cursor; return the seq that it has then.

        Waits until the user's last seq is known. Raises MessageRefused for a cursor ahead of it. The caller
        calls `leave` once after every join, also after one that was cancelled or refused.
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
        client.cursor = stream.last_seq
        return stream.last_seq

    async def leave(self, client: Client) -> None:
        """Detach a client; after the last one of a user, unsubscribe from the user's channel."""
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
                    await self._pubsub.unsubscribe(order_updates.channel(stream.user_id))

    def last_seq(self, user_id: int) -> int | None:
        """The seq of the last update that was sent to a connected user; None before it is known."""
        stream = self._streams.get(user_id)
        return stream.last_seq if stream is not None and stream.known.is_set() else None

    async def replay(self, client: Client, after_seq: int) -> int:
        """Send the updates after a cursor again, then go on live; return the last seq sent. Waits for Redis.

        Raises MessageRefused, and changes nothing, when the record does not reach the cursor.
        """
        stream = self._streams[client.session.user_id]
        async with client.replaying:
            await stream.known.wait()
            await self._healing.reach(stream, after_seq)
            client.held = {}
            stream.clients.add(client)
            kept = await self._healing.kept(stream, after_seq)
            last_seq = stream.last_seq
            frames = {seq: frame for seq, frame in kept.items() if seq <= last_seq} | client.held
            client.held, client.cursor = None, after_seq
            replay(client, frames, after_seq, last_seq)
        return max(last_seq, after_seq)

    async def run(self) -> None:
        """Serve until cancelled; after a lost connection connect again and read what was missed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="update channels")
            tasks.create_task(self._keep_checking(), name="update cursors")
            tasks.create_task(self._record.run(), name="refill requests")

    async def _listen(self) -> None:
        while True:
            try:
                async with Subscriber(self._redis) as pubsub:
                    await self._read_on(pubsub)
            except (RedisError, OSError) as error:
                self._record.redis_lost()
                log.warning("order_updates_wait_for_redis", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_on(self, pubsub: Subscriber) -> None:
        self._pubsub = pubsub
        try:
            if channels := [order_updates.channel(user_id) for user_id in self._streams]:
                await pubsub.subscribe(*channels)
            while True:
                await self._next(pubsub)
        finally:
            self._pubsub = None

    async def _subscribe(self, stream: UserStream) -> None:
        """Subscribe to a user's channel; while Redis is away this is left to `run`."""
        if self._pubsub is not None:
            with suppress(RedisError, OSError):
                await self._pubsub.subscribe(order_updates.channel(stream.user_id))

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
            self._healing.begin(stream)
        elif (answer := order_updates.answer_in(data)) is not None:
            self._record.on_answer(stream.user_id, answer)
            self._healing.begin(stream)
        else:
            frame = _decode(data)
            stream.add(frame.seq, data)
            update_pushed(frame.timestamp, frame.traceparent)
            if not stream.is_whole:
                self._healing.begin(stream)

    async def _keep_checking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_seconds):
                    await self._check.wait()
            self._check.clear()
            known = [s for s in self._streams.values() if s.known.is_set()]
            await self._record.check([Cursor(stream.user_id, stream.last_seq) for stream in known])
