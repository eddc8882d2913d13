"""The market's phases on their way from the exchange gateway to the stream: the last of each class is kept.

Published by exchange/gateway/writer.py, read by realtime/stream/market_status.py.
"""

import msgspec
from redis.asyncio import Redis

from bus.stream_frames import AnnouncedPhase, encode
from bus.wakeups import MARKET_STATUS


class _PhaseOwner(msgspec.Struct):
    """The exchange, segment and session class of a phase."""

    exchange: str = ""
    segment: str | None = None
    session_class: str | None = None


_decode = msgspec.json.Decoder(_PhaseOwner).decode


def field(phase: bytes) -> str:
    """Return the field of the hash in which the last phase of its kind is kept."""
    owner = _decode(phase)
    return ":".join(part or "" for part in (owner.exchange, owner.segment, owner.session_class))


async def publish(redis: Redis, phase: AnnouncedPhase) -> None:
    """Keep a phase and publish it. Raises RedisError and OSError."""
    frame = encode(phase)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hset(MARKET_STATUS, field(frame), frame)
        pipe.publish(MARKET_STATUS, frame)
        await pipe.execute()
