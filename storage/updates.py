"""Order updates on their way to the user's sockets: one Redis channel a user, published after commit.

The audit log is the truth; this is the fast way. A kept tail of each user's updates lets a stream client
resume after its cursor. Called by whoever committed the entries. A gateway that may have missed some says
on WANTED how far each of its users got; storage/update_refills.py fills the tail from the audit log and
publishes REFILLED on the channels of those who were behind.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage.audit import OrderUpdate

KEPT_UPDATES = 500
"""Updates of a user kept for a resuming client; an older cursor is told of a gap."""
CHANNEL_PATTERN = "updates:*"
WANTED = "wanted-updates"
REFILLED = b"refilled"
"""In the place of a frame: the user's tail is complete up to the last committed update."""
_encode = msgspec.json.Encoder().encode


class Cursor(msgspec.Struct, frozen=True):
    """How far a gateway got with a user; None when it does not know of any update."""

    user_id: int
    last_seq: int | None


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


async def refill(redis: Redis, missed: Mapping[int, list[OrderUpdate]]) -> None:
    """Put each user's updates into the tail and say so, once a user; raises RedisError."""
    async with redis.pipeline(transaction=False) as pipe:
        for user_id, updates in missed.items():
            for update in updates:
                # Scores are unique: a frame that differs in a byte from the published one replaces it.
                pipe.zremrangebyscore(tail(user_id), update.body["seq"], update.body["seq"])
                pipe.zadd(tail(user_id), {_encode(update.body): update.body["seq"]})
            pipe.zremrangebyrank(tail(user_id), 0, -KEPT_UPDATES - 1)
            pipe.publish(channel(user_id), REFILLED)
        await pipe.execute()


async def kept(redis: Redis, user_id: int, after_seq: int) -> dict[int, bytes]:
    """The kept frames after a cursor by seq, ascending; raises RedisError."""
    found: Any = await redis.zrangebyscore(tail(user_id), f"({after_seq}", "+inf", withscores=True)
    return {int(seq): frame for frame, seq in found}


async def last_kept(redis: Redis, user_id: int) -> int | None:
    """The seq of the newest kept frame, None when none is kept; raises RedisError."""
    found: Any = await redis.zrange(tail(user_id), -1, -1, withscores=True)
    return int(found[0][1]) if found else None


async def want(redis: Redis, cursors: list[Cursor]) -> None:
    """Ask for what was committed after these cursors; a Redis that is away is asked again later."""
    with suppress(RedisError, OSError):
        await redis.publish(WANTED, _encode(cursors))
