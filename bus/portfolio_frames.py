"""Portfolios on their way to the sockets of those who watch them: one Redis channel a user.

The books are the truth; a frame is all of one user's as of a version of his ledger. A gateway says again and
again which portfolios it watches and which version it has; who reads the books answers with what is newer, so
a lost message costs one repetition. Several may answer: the newest version wins. The answering side is
api/portfolio_stream.py, the asking one realtime/stream/portfolios.py.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

WANTED = "wanted-portfolios"
_encode = msgspec.json.Encoder().encode


class Version(msgspec.Struct, frozen=True, array_like=True):
    """Which version of a user's portfolio a gateway has; -1 for none."""

    user_id: int
    version: int


decode = msgspec.json.Decoder(list[Version]).decode


def channel(user_id: int) -> str:
    return f"portfolio:{user_id}"


async def want(redis: Redis, versions: Iterable[Version]) -> None:
    """Ask for what is newer than these; a Redis that is away is asked again later."""
    with suppress(RedisError, OSError):
        await redis.publish(WANTED, _encode(list(versions)))


async def publish(redis: Redis, frames: Mapping[int, bytes]) -> None:
    """A frame a user. Raises RedisError when Redis is away."""
    async with redis.pipeline(transaction=False) as pipe:
        for user_id, frame in frames.items():
            pipe.publish(channel(user_id), frame)
        await pipe.execute()
