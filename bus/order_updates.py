"""Order updates on their way to the user's sockets: one Redis channel a user, published after commit.

The audit log is the truth; this is the fast way. A kept tail of each user's updates lets a stream client
resume after its cursor. Published by every process that commits entries. A gateway that may have missed
updates sends its users' cursors on WANTED; storage/update_refills.py fills the tail from the audit log and
answers on the user's channel.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

KEPT_UPDATES = 500
"""Updates of a user that are kept for a resuming client; an older cursor gets a gap."""
CHANNEL_PATTERN = "updates:*"
WANTED = "wanted-updates"
_REFILLED = b"refilled:"
"""The prefix of a RefillAnswer, which comes in the place of a frame."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """One entry of the audit log on its user's stream."""

    user_id: int
    body: dict[str, Any]
    """An OrderUpdateFrame (bus/stream_frames.py)."""


class Cursor(msgspec.Struct, frozen=True):
    """The last update of a user that a gateway has; None if it has none and only wants the last seq."""

    user_id: int
    last_seq: int | None


class RefillRequest(msgspec.Struct, frozen=True):
    """A gateway's request for the updates after its users' cursors."""

    cursors: list[Cursor]
    number: int | None = None
    """Repeated in the answers, one for each user; without it only users who are behind get an answer."""


class RefillAnswer(msgspec.Struct, frozen=True):
    """The answer that a user's tail is complete from the cursor on, or as far back as it is kept."""

    last_seq: int
    """The user's last committed update."""
    number: int | None = None


class Refill(msgspec.Struct, frozen=True):
    """The updates on record that a user's tail may miss."""

    last_seq: int
    updates: list[OrderUpdate]


_decode_answer = msgspec.json.Decoder(RefillAnswer).decode


def channel(user_id: int) -> str:
    return f"updates:{user_id}"


def tail(user_id: int) -> str:
    """The sorted set of kept updates by seq: one published late or twice is kept once, in its place."""
    return f"updates:{user_id}:tail"


async def publish(redis: Redis, updates: Iterable[OrderUpdate]) -> None:
    """Publish committed updates. While Redis is away only the push is lost, not the record."""
    with suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as pipe:
            for update in updates:
                frame = _encode(update.body)
                pipe.zadd(tail(update.user_id), {frame: update.body["seq"]})
                pipe.zremrangebyrank(tail(update.user_id), 0, -KEPT_UPDATES - 1)
                pipe.publish(channel(update.user_id), frame)
            if len(pipe):
                await pipe.execute()


async def refill(redis: Redis, refills: Mapping[int, Refill], number: int | None) -> None:
    """Put each user's updates into the tail and publish an answer for each user; raises RedisError."""
    async with redis.pipeline(transaction=False) as pipe:
        for user_id, found in refills.items():
            for update in found.updates:
                # Scores are unique: a frame that differs in a byte from the published one replaces it.
                pipe.zremrangebyscore(tail(user_id), update.body["seq"], update.body["seq"])
                pipe.zadd(tail(user_id), {_encode(update.body): update.body["seq"]})
            pipe.zremrangebyrank(tail(user_id), 0, -KEPT_UPDATES - 1)
            pipe.publish(channel(user_id), _REFILLED + _encode(RefillAnswer(found.last_seq, number)))
        await pipe.execute()


def answer_in(message: bytes) -> RefillAnswer | None:
    """Return the answer that came in the place of a frame, None for a frame."""
    return _decode_answer(message.removeprefix(_REFILLED)) if message.startswith(_REFILLED) else None


async def kept(redis: Redis, user_id: int, after_seq: int) -> dict[int, bytes]:
    """Return the kept frames after a cursor by seq, ascending; raises RedisError."""
    found: Any = await redis.zrangebyscore(tail(user_id), f"({after_seq}", "+inf", withscores=True)
    return {int(seq): frame for frame, seq in found}


async def last_kept(redis: Redis, user_id: int) -> int | None:
    """Return the seq of the newest kept frame, None when none is kept; raises RedisError."""
    found: Any = await redis.zrange(tail(user_id), -1, -1, withscores=True)
    return int(found[0][1]) if found else None


async def request_refill(redis: Redis, request: RefillRequest) -> None:
    """Request the updates that were committed after these cursors; raises RedisError."""
    await redis.publish(WANTED, _encode(request))
