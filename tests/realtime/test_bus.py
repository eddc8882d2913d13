"""The bus over a real Valkey: nothing is missed between subscribing and reading, nor by a lost connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from bus.redis_client import open_redis
from bus.tick_bus import Publisher, Watcher
from bus.ticks import GROUPS, TICK, Ticks, channel, group_of
from config.settings import Settings
from tests.support.eventually import eventually

Watching = Callable[[], AbstractAsyncContextManager["Gateway"]]


class Gateway:
    """Keeps what a gateway would: the last price of each token, and how often it was told."""

    def __init__(self, redis: Redis) -> None:
        self.watcher = Watcher(redis, self._told)
        self.prices: dict[int, int] = {}
        self.messages = 0

    async def watch(self, group: str) -> dict[int, int]:
        found = _prices(await self.watcher.watch(group))
        self.prices |= found
        return found

    def _told(self, _group: str, rows: Ticks) -> None:
        self.messages += 1
        self.prices |= _prices(rows)


def some_rows(prices: dict[int, int], **fields: Any) -> Ticks:
    rows = np.zeros(len(prices), TICK)
    rows["token"], rows["ltp"] = list(prices), list(prices.values())
    for name, value in fields.items():
        rows[name] = value
    return rows


def _prices(rows: Ticks) -> dict[int, int]:
    return dict(zip(rows["token"].tolist(), rows["ltp"].tolist(), strict=True))


@pytest.fixture
async def publisher(redis: Redis) -> AsyncIterator[Publisher]:
    await forget(redis)
    yield Publisher(redis)
    await forget(redis)


async def forget(redis: Redis) -> None:
    if keys := [key async for key in redis.scan_iter("ticks:*")]:
        await redis.delete(*keys)


@asynccontextmanager
async def watching(redis: Redis) -> AsyncIterator[Gateway]:
    gateway = Gateway(redis)
    running = asyncio.create_task(gateway.watcher.run())
    try:
        yield gateway
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def a_gateway(redis: Redis) -> Watching:
    return partial(watching, redis)


def test_a_row_is_packed_and_holds_the_record_first() -> None:
    assert TICK.itemsize == 137
    assert TICK.names is not None and TICK.names[0] == "token" and TICK.names[-2:] == ("received_ns", "stale")
    assert TICK.fields is not None and TICK.fields["received_ns"][1] == 128


def test_a_group_is_a_share_of_one_exchange() -> None:
    assert group_of("NSE", 2885) == f"NSE:{2885 % GROUPS}" == "NSE:5"
    assert len({group_of("BSE", token) for token in range(500_000, 505_000)}) == GROUPS


async def test_a_watcher_starts_with_the_latest_rows_and_goes_on(
    publisher: Publisher, a_gateway: Watching
) -> None:
    await publisher.publish({"NSE:1": some_rows({1: 100, 65: 200})})
    await publisher.publish({"NSE:1": some_rows({65: 210})})
    async with a_gateway() as gateway:
        assert await gateway.watch("NSE:1") == {1: 100, 65: 210}
        await publisher.publish({"NSE:1": some_rows({1: 101}), "NSE:2": some_rows({2: 7})})
        await eventually(lambda: gateway.prices == {1: 101, 65: 210})
        assert gateway.messages == 1, "another group's rows came too"


async def test_every_field_arrives_as_it_was_published(publisher: Publisher, redis: Redis) -> None:
    sent = some_rows({9: 5}, volume=2**63, received_ns=1_795_502_800_123_456_789, stale=1)
    sent["bids"][0, 4] = (499, 25)
    await publisher.publish({"NSE:9": sent})
    received: list[Ticks] = []
    watcher = Watcher(redis, lambda _, rows: received.append(rows))
    running = asyncio.create_task(watcher.run())
    assert (await watcher.watch("NSE:9") == sent).all()
    await publisher.publish({"NSE:9": sent})
    assert (await eventually(lambda: received))[0].tobytes() == sent.tobytes()
    running.cancel()


async def test_an_empty_group_answers_with_no_rows(publisher: Publisher, a_gateway: Watching) -> None:
    async with a_gateway() as gateway:
        assert await gateway.watch("BSE:3") == {}
        await publisher.publish({"BSE:3": some_rows({3: 1})})
        await eventually(lambda: gateway.prices == {3: 1})


async def test_no_row_is_missed_while_a_watch_begins(publisher: Publisher, a_gateway: Watching) -> None:
    async def price_rises() -> None:
        for price in range(1, 501):
            await publisher.publish({"NSE:4": some_rows({4: price})})

    async with a_gateway() as gateway:
        rising = asyncio.create_task(price_rises())
        while not rising.done():
            gateway.prices.clear()
            await gateway.watch("NSE:4")
            await gateway.watcher.unwatch("NSE:4")
        await gateway.watch("NSE:4")
        await rising
        await eventually(lambda: gateway.prices == {4: 500})


async def test_a_group_no_longer_watched_is_silent(
    publisher: Publisher, a_gateway: Watching, redis: Redis
) -> None:
    async with a_gateway() as gateway:
        await gateway.watch("NSE:5")
        await gateway.watch("NSE:6")
        await gateway.watcher.unwatch("NSE:5")
        await publisher.publish({"NSE:5": some_rows({5: 1})})
        await publisher.publish({"NSE:6": some_rows({6: 1})})
        await eventually(lambda: gateway.prices == {6: 1})
        counts = await redis.execute_command("PUBSUB", "SHARDNUMSUB", channel("NSE:5"))  # type: ignore[no-untyped-call]
        assert counts[-1] == 0


async def test_after_a_lost_connection_the_latest_rows_come_again(
    publisher: Publisher, a_gateway: Watching, redis_admin: Redis
) -> None:
    async with a_gateway() as gateway:
        await gateway.watch("NSE:7")
        killed = await redis_admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
        assert killed >= 1
        await publisher.publish({"NSE:7": some_rows({7: 42})})
        await eventually(lambda: gateway.prices == {7: 42})
        await publisher.publish({"NSE:7": some_rows({7: 43})})
        await eventually(lambda: gateway.prices == {7: 43})


async def test_a_group_is_given_back_although_its_watch_began_while_the_bus_connected(
    publisher: Publisher, redis: Redis, servers: Settings
) -> None:
    async def nobody_listens() -> bool:
        found = await redis.execute_command("PUBSUB", "SHARDNUMSUB", channel("NSE:8"))  # type: ignore[no-untyped-call]
        return bool(found[-1] == 0)

    await publisher.publish({"NSE:8": some_rows({8: 5})})
    for hops in range(40):
        async with open_redis(servers.redis_dsn) as unconnected, watching(unconnected) as gateway:
            for _ in range(hops):
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                assert await gateway.watch("NSE:8") == {8: 5}
            await gateway.watcher.unwatch("NSE:8")
            await eventually(nobody_listens, every=0.01)


async def test_publishing_nothing_is_nothing(publisher: Publisher) -> None:
    await publisher.publish({})
