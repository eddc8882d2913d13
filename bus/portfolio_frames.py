"""Portfolios on their way to the sockets of the clients that watch them: one Redis channel a user.

The books are the truth; a frame (PortfolioFrame, bus/stream_frames.py) is one user's whole portfolio as of a
version of the ledger. A gateway sends again and again which portfolios it watches and which version it has; a
process that reads the books answers with the newer ones, so a lost message costs one repetition. Several may
answer: the newest version wins. Requested by realtime/stream/portfolios.py, answered by
api/portfolio_stream.py.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

WANTED = "wanted-portfolios"
_encode = msgspec.json.Encoder().encode


class Version(msgspec.Struct, frozen=True, array_like=True):
    """The version of a user's portfolio that a gateway has; -1 for none."""

    user_id: int
    version: int


decode = msgspec.json.Decoder(list[Version]).decode


def channel(user_id: int) -> str:
    return f"portfolio:{user_id}"


async def request(redis: Redis, versions: Iterable[Version]) -> None:
    """Request newer portfolios than these; while Redis is away nothing happens, and the caller repeats it."""
    with suppress(RedisError, OSError):
        await redis.publish(WANTED, _encode(list(versions)))


async def publish(redis: Redis, frames: Mapping[int, bytes]) -> None:
    """Publish one frame a user. Raises RedisError when Redis is away."""
    async with redis.pipeline(transaction=False) as pipe:
        for user_id, frame in frames.items():
            pipe.publish(channel(user_id), frame)
        await pipe.execute()
