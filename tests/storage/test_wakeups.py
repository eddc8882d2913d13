"""A hint ends the wait; a lost hint costs one poll."""

import asyncio
import time

from redis.asyncio import Redis

from bus import wakeups


async def test_a_hint_ends_the_wait_long_before_the_poll(redis: Redis) -> None:
    async with wakeups.listening(redis, wakeups.INTAKE) as wakeup:
        await wakeup.wait(5)  # the subscription itself counts as a hint
        began = time.monotonic()
        waiting = asyncio.create_task(wakeup.wait(30))
        await wakeups.wake(redis, wakeups.INTAKE)
        await waiting
        assert time.monotonic() - began < 20


async def test_a_hint_between_two_waits_is_not_lost(redis: Redis) -> None:
    wakeup = wakeups.Wakeup()
    wakeup.set()
    await asyncio.wait_for(wakeup.wait(30), 20)


async def test_without_a_hint_the_poll_is_the_floor(redis: Redis) -> None:
    await asyncio.wait_for(wakeups.Wakeup().wait(0.01), 20)
