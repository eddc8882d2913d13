"""Wake-ups between processes: hints over Redis after a commit, with polling as the floor.

A lost hint costs one polling interval, never an order. (A NOTIFY inside a hot transaction would
serialise all commits of the database.)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.background import running

INTAKE = "wake:intake"
"""An order was acknowledged."""
TRADING_STATES = "wake:trading-states"
"""A trading state was set or lifted."""
PRICE_BANDS = "wake:price-bands"
"""An exchange has moved a band."""
RISK_LIMITS = "wake:risk-limits"
"""An account's limits were changed."""
WITHDRAWN = "wake:withdrawn"
"""Orders were taken out of the outbox without their workflows."""
RISK_ALERTS = "risk_alerts"
"""The `risk_alert` frames of the stream, for sessions of the risk role."""
MARKET_STATUS = "market_status"
"""An exchange announced a phase: the channel of phases, and the hash of each exchange and segment's last one.
The message is the `market_status` frame of the stream."""


def outbox(exchange: str) -> str:
    """An instruction to this exchange was committed."""
    return f"wake:outbox:{exchange}"


def inbox(owner: str) -> str:
    """A report for an order of this order worker was committed."""
    return f"wake:inbox:{owner}"


async def wake(redis: Redis, *channels: str) -> None:
    """Hint that there is work. Call after the commit; a Redis that is away only costs the hint."""
    with suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as pipe:
            for channel in set(channels):
                pipe.publish(channel, b"")
            await pipe.execute()


class Wakeup:
    """Set by a hint; `wait` returns at once when a hint came since the last wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def pending(self) -> bool:
        """A hint came since the last wait."""
        return self._event.is_set()

    async def wait(self, poll_seconds: float) -> bool:
        """Until the next hint, or `poll_seconds`, whichever is sooner; whether a hint came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(poll_seconds):
                await self._event.wait()
        hinted = self._event.is_set()
        self._event.clear()
        return hinted


@asynccontextmanager
async def listening(redis: Redis, *channels: str) -> AsyncIterator[Wakeup]:
    """A Wakeup set by hints on any of the channels, for as long as the context is open."""
    wakeup = Wakeup()
    async with running(_listen(redis, channels, wakeup), f"wake {channels}"):
        yield wakeup


async def _listen(redis: Redis, channels: tuple[str, ...], wakeup: Wakeup) -> None:
    while True:
        with suppress(RedisError, OSError):
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(*channels)
                wakeup.set()
                async for _ in pubsub.listen():
                    wakeup.set()
        await asyncio.sleep(0.5)
