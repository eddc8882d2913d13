"""A send that is cancelled ends; a subscription may be changed while another task reads it."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bus.redis_client import Subscriber
from tests.support.eventually import eventually


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


async def next_of(subscriber: Subscriber, kind: str) -> Any:
    async with asyncio.timeout(5):
        while (message := await subscriber.get_message(timeout=1)) is None or message["type"] != kind:
            pass
    return message["channel"]


async def test_the_first_channel_is_subscribed_to_while_another_task_reads_however_long_it_was_quiet(
    redis: Redis,
) -> None:
    async with Subscriber(redis) as subscriber:
        reading = asyncio.create_task(next_of(subscriber, "message"))
        await asyncio.sleep(0.1)
        # As after a quarter of a minute without a subscription.
        assert subscriber.connection is not None
        subscriber.connection.next_health_check = 0
        await subscriber.subscribe("test:subscriber")

        async def is_heard() -> bool:
            return bool(await redis.publish("test:subscriber", b"said"))

        await eventually(is_heard)
        assert await reading == b"test:subscriber"


async def test_a_subscription_that_could_not_be_sent_ends_the_reading(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Subscriber(redis) as subscriber:
        await subscriber.subscribe("test:subscriber")
        assert await next_of(subscriber, "subscribe") == b"test:subscriber"

        async def refuse(*_: object, **__: object) -> None:
            raise RedisConnectionError("away")

        monkeypatch.setattr(subscriber.connection, "send_command", refuse)
        with pytest.raises(RedisConnectionError, match="away"):
            await subscriber.subscribe("test:another")
        with pytest.raises(RedisConnectionError, match="lost"):
            await subscriber.get_message(timeout=1)
