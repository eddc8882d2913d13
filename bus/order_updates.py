"""Order updates on their way to the user's sockets: one Redis channel a user, published after commit.

The audit log is the truth; this is the fast way. A kept tail of each user's updates lets a stream client
resume after its cursor. Called by whoever committed the entries. A gateway that may have missed some says
on WANTED how far each of its users got; storage/update_refills.py fills the tail from the audit log and
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
"""Updates of a user kept for a resuming client; an older cursor is told of a gap."""
CHANNEL_PATTERN = "updates:*"
WANTED = "wanted-updates"
_REFILLED = b"refilled:"
"""In the place of a frame: before an Answer."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What a user's stream says of one entry of the audit log."""

    user_id: int
    body: dict[str, Any]
    """The `order_update` frame: seq, order_id, event, status, timestamp and the entry's detail."""


class Cursor(msgspec.Struct, frozen=True):
    """How far a gateway got with a user; None when it knows nothing of him, and wants his last seq alone."""

    user_id: int
    last_seq: int | None


class Question(msgspec.Struct, frozen=True):
    """What a gateway asks of the record."""

    cursors: list[Cursor]
    number: int | None = None
    """Stands in the answers, one for each user; without it only users who are behind are answered."""


class Answer(msgspec.Struct, frozen=True):
    """A user's tail is complete from the cursor on, or as far back as it is kept."""

    last_seq: int
    """The user's last committed update."""
    number: int | None = None


class Refill(msgspec.Struct, frozen=True):
    """What the record has for a user's tail."""

    last_seq: int
    updates: list[OrderUpdate]


_decode_answer = msgspec.json.Decoder(Answer).decode


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


async def refill(redis: Redis, refills: Mapping[int, Refill], number: int | None) -> None:
    """Put each user's updates into the tail and say so, once a user; raises RedisError."""
    async with redis.pipeline(transaction=False) as pipe:
        for user_id, found in refills.items():
            for update in found.updates:
                # Scores are unique: a frame that differs in a byte from the published one replaces it.
                pipe.zremrangebyscore(tail(user_id), update.body["seq"], update.body["seq"])
                pipe.zadd(tail(user_id), {_encode(update.body): update.body["seq"]})
            pipe.zremrangebyrank(tail(user_id), 0, -KEPT_UPDATES - 1)
            pipe.publish(channel(user_id), _REFILLED + _encode(Answer(found.last_seq, number)))
        await pipe.execute()


def answer_in(message: bytes) -> Answer | None:
    """The answer that came in the place of a frame, None for a frame."""
    return _decode_answer(message.removeprefix(_REFILLED)) if message.startswith(_REFILLED) else None


async def kept(redis: Redis, user_id: int, after_seq: int) -> dict[int, bytes]:
    """The kept frames after a cursor by seq, ascending; raises RedisError."""
    found: Any = await redis.zrangebyscore(tail(user_id), f"({after_seq}", "+inf", withscores=True)
    return {int(seq): frame for frame, seq in found}


async def last_kept(redis: Redis, user_id: int) -> int | None:
    """The seq of the newest kept frame, None when none is kept; raises RedisError."""
    found: Any = await redis.zrange(tail(user_id), -1, -1, withscores=True)
    return int(found[0][1]) if found else None


async def want(redis: Redis, question: Question) -> None:
    """Ask for what was committed after these cursors; raises RedisError."""
    await redis.publish(WANTED, _encode(question))
