"""Alerts for the risk desk on their way to its sessions: as they come, and to nobody else.

Alerts that the desk missed are in the record and in `GET /api/v1/risk/states`; they are not replayed. Written
by storage/risk/risk_alerts.py, run by realtime/stream/gateway.py.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.wakeups import RISK_ALERTS

RETRY_SECONDS = 0.2


async def listen(redis: Redis, on_alert: Callable[[bytes], None]) -> None:
    """Call `on_alert` with each `risk_alert` frame until cancelled."""
    while True:
        with suppress(RedisError, OSError):
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(RISK_ALERTS)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        on_alert(message["data"])
        await asyncio.sleep(RETRY_SECONDS)
