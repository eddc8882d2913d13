"""The healing of order updates that a gateway missed: from the kept tail, or refilled from the record.

Invariant: no update is announced as lost before it was requested during HEAL_SECONDS in which Redis was
there. A stream begins at the last seq of the tail or the record, and waits while neither can be read. Called
by realtime/stream/updates.py.
"""

import asyncio
from collections.abc import Mapping

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates
from bus.order_updates import KEPT_UPDATES, Cursor
from realtime.stream.messages import MessageRefused
from realtime.stream.record_queries import RecordQueries
from realtime.stream.user_stream import UserStream

RETRY_SECONDS = 0.1
CURSOR_AHEAD = "CURSOR_AHEAD"
log = structlog.get_logger()


class Healing:
    """Heals the streams that miss something, side by side."""

    def __init__(self, redis: Redis, record: RecordQueries) -> None:
        self._redis, self._record = redis, record

    def begin(self, stream: UserStream) -> None:
        """Read the tail, and go on until the stream is whole."""
        stream.changed = True
        if stream.healing is None or stream.healing.done():
            stream.healing = asyncio.create_task(self._heal(stream), name=f"heal {stream.user_id}")

    async def _heal(self, stream: UserStream) -> None:
        since, last_seq, pause = _now(), stream.last_seq, 0.0
        while True:
            stream.changed = False
            await self._read(stream)
            if stream.is_whole:
                if stream.changed:
                    continue
                return
            if stream.last_seq != last_seq:
                # The next hole has its own time.
                since, last_seq = _now(), stream.last_seq
            if stream.known.is_set() and self._record.is_overdue(since):
                from_seq, last_seq = stream.skip_hole()
                log.warning("order_updates_lost", user=stream.user_id, from_seq=from_seq, to_seq=last_seq)
            else:
                await asyncio.sleep(pause)
                await self._request_refill(stream)
                pause = RETRY_SECONDS

    async def _request_refill(self, stream: UserStream) -> None:
        """Have the tail refilled, or learn the last seq of a stream that has not begun."""
        cursor = stream.last_seq if stream.known.is_set() else None
        last_seq = await self._record.refill(Cursor(stream.user_id, cursor))
        if last_seq is not None and not stream.known.is_set():
            stream.begin(last_seq)

    async def _read(self, stream: UserStream) -> None:
        """Add the updates of the tail to the stream; waits for Redis."""
        while True:
            try:
                if stream.known.is_set():
                    kept = await order_updates.kept(self._redis, stream.user_id, stream.last_seq)
                    for seq, frame in kept.items():
                        stream.add(seq, frame)
                elif (last_seq := await order_updates.last_kept(self._redis, stream.user_id)) is not None:
                    stream.begin(last_seq)
                return
            except (RedisError, OSError):
                self._record.redis_lost()
            await asyncio.sleep(RETRY_SECONDS)

    async def reach(self, stream: UserStream, after_seq: int) -> None:
        """Wait until the record reaches a cursor for certain. Raises MessageRefused when it does not."""
        while stream.last_seq < after_seq:
            last_seq = await self._record.refill(Cursor(stream.user_id, stream.last_seq))
            if last_seq is not None and last_seq < after_seq:
                raise MessageRefused(
                    CURSOR_AHEAD, f"The last order update is {last_seq}: read the orders anew."
                )
            if last_seq is not None:
                return

    async def kept(self, stream: UserStream, after_seq: int) -> dict[int, bytes]:
        """Return the kept frames after a cursor, refilled as far back as they are kept; waits for Redis."""
        since, pause = _now(), 0.0
        while True:
            try:
                found = await order_updates.kept(self._redis, stream.user_id, after_seq)
                if _is_whole(found, after_seq, stream.last_seq) or self._record.is_overdue(since):
                    return found
            except (RedisError, OSError):
                self._record.redis_lost()
            await asyncio.sleep(pause)
            await self._record.refill(Cursor(stream.user_id, after_seq))
            pause = RETRY_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()


def _is_whole(kept: Mapping[int, bytes], after_seq: int, last_seq: int) -> bool:
    """Whether the tail has every update between the two, or as many as are kept."""
    oldest = max(after_seq, max(kept, default=last_seq) - KEPT_UPDATES)
    return sum(oldest < seq <= last_seq for seq in kept) >= last_seq - oldest
