"""The market's phases on their way from the exchange gateway to the stream: the last of each class is kept.

Published by exchange/gateway/writer.py, followed by realtime/stream/market_status.py.
"""

from typing import Any

import msgspec
from redis.asyncio import Redis

from bus.wakeups import MARKET_STATUS


def field(phase: dict[str, Any]) -> str:
    """Whose phase it is: where the last one is kept."""
    return ":".join(phase.get(part) or "" for part in ("exchange", "segment", "session_class"))


async def publish(redis: Redis, phase: dict[str, Any]) -> None:
    """Keep a phase and tell whoever listens. Raises RedisError and OSError."""
    frame = msgspec.json.encode(phase)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hset(MARKET_STATUS, field(phase), frame)
        pipe.publish(MARKET_STATUS, frame)
        await pipe.execute()
