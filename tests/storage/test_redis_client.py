"""The client's sends: a cancellation in the middle of one is a cancellation."""

import asyncio

from redis.asyncio import Redis


async def _write_for_ever(redis: Redis) -> None:
    while True:
        await redis.set("test:redis-client", b"")


async def test_a_task_that_is_cancelled_while_it_writes_ends(redis: Redis) -> None:
    for step in range(300):
        writing = asyncio.create_task(_write_for_ever(redis))
        for _ in range(20 + step % 7):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing}, timeout=5)
        assert writing.cancelled()
