"""Order updates on their way to the user's sockets: one Redis channel a user, published after commit.

The audit log is the truth; this is the fast way. A kept tail of each user's updates lets a stream client
resume after its cursor. Called by whoever committed the entries.
"""

from collections.abc import Iterable
from contextlib import suppress

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage.audit import OrderUpdate

KEPT_UPDATES = 500
"""Updates of a user kept for a resuming client; an older cursor is told of a gap."""
CHANNEL_PATTERN = "updates:*"
_encode = msgspec.json.Encoder().encode


def channel(user_id: int) -> str:
    return f"updates:{user_id}"


def tail(user_id: int) -> str:
    """A sorted set, scored by seq: an update published late or twice still stands once, in its place."""
    return f"updates:{user_id}:tail"


async def publish(redis: Redis, updates: Iterable[OrderUpdate]) -> None:
    """Publish committed updates. A Redis that is away costs the push, not the record."""
    with suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as pipe:
            for update in updates:
                frame = _encode(update.body)
                pipe.zadd(tail(update.user_id), {frame: update.body["seq"]})
                pipe.zremrangebyrank(tail(update.user_id), 0, -KEPT_UPDATES - 1)
                pipe.publish(channel(update.user_id), frame)
            if len(pipe):
                await pipe.execute()
