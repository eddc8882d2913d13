"""Alerts for the risk desk on their way to its sessions: as they come, and to nobody else.

What the desk missed is in the record and in `GET /api/v1/risk/states`; alerts are not replayed. Written by
storage/risk/risk_alerts.py, run by realtime/stream/gateway.py.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.wakeups import RISK_ALERTS

RETRY_SECONDS = 0.2


async def follow(redis: Redis, told: Callable[[bytes], None]) -> None:
    """Until cancelled; `told` gets the body of each `risk_alert` event."""
    while True:
        with suppress(RedisError, OSError):
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(RISK_ALERTS)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        told(message["data"])
        await asyncio.sleep(RETRY_SECONDS)
