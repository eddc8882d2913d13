"""Conflated onto the bus: the last tick arrives, a quiet one at once, and all again to an empty Redis."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from redis.asyncio import Redis

from bus.redis_client import open_redis
from bus.tick_bus import Publisher, Watcher
from bus.ticks import Ticks, group_of, latest
from config.settings import Settings
from realtime.feed import distributor as distributing
from realtime.feed.distributor import Distributor
from realtime.feed.feed_handler import FeedHandler
from stack.supervision import Supervisor
from tests.support.eventually import eventually
from tests.support.feed import Sender, a_handler, some_records
from tests.support.market import free_offset

TOKENS = range(1, 101)
LONG = 3600.0


class Gateway:
    """Watches every group of the tokens; keeps what it was told."""

    def __init__(self, redis: Redis) -> None:
        self.watcher = Watcher(redis, self._told)
        self.prices: dict[int, int] = {}
        self.times_told: dict[int, int] = {}

    async def watch(self) -> None:
        for group in {group_of("NSE", token) for token in TOKENS}:
            self._told(group, await self.watcher.watch(group))

    def _told(self, _: str, rows: Ticks) -> None:
        for token, price in zip(rows["token"].tolist(), rows["ltp"].tolist(), strict=True):
            self.prices[token] = price
            self.times_told[token] = self.times_told.get(token, 0) + 1


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(port_offset=free_offset())


@pytest.fixture
def sender(settings: Settings) -> Iterator[Sender]:
    opened = Sender(settings)
    with opened.answering():
        yield opened
    opened.close()


@contextmanager
def bound(settings: Settings) -> Iterator[FeedHandler]:
    opened = a_handler(settings, TOKENS, now_ns=time.monotonic_ns())
    try:
        yield opened
    finally:
        for socket in opened.sockets:
            socket.close()


@pytest.fixture
def handler(settings: Settings) -> Iterator[FeedHandler]:
    with bound(settings) as opened:
        yield opened


@asynccontextmanager
async def at_work(redis: Redis, handler: FeedHandler) -> AsyncIterator[Gateway]:
    """A distributor and a gateway that watches everything."""
    distributor, gateway = Distributor(Publisher(redis), [handler]), Gateway(redis)
    work = (distributor.read(), distributor.watch(), distributor.publish(), gateway.watcher.run())
    tasks = [asyncio.create_task(part) for part in work]
    try:
        await gateway.watch()
        yield gateway
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def clean_redis(redis: Redis) -> AsyncIterator[Redis]:
    await _forget(redis)
    yield redis
    await _forget(redis)


async def _forget(redis: Redis) -> None:
    if keys := [key async for key in redis.scan_iter("ticks:*")]:
        await redis.delete(*keys)


async def test_a_burst_is_conflated_and_its_last_tick_arrives(
    clean_redis: Redis, handler: FeedHandler, sender: Sender
) -> None:
    async with at_work(clean_redis, handler) as gateway:
        begun = time.monotonic()
        for price in range(1, 301):
            sender.ticks(some_records(dict.fromkeys(TOKENS, price)))
            await asyncio.sleep(0)
        await eventually(lambda: gateway.prices == dict.fromkeys(TOKENS, 300))
        beats = (time.monotonic() - begun) / distributing.BEAT_SECONDS
        # A beat each, the first at once, and the snapshot asked for on joining.
        assert max(gateway.times_told.values()) <= beats + 4 < 300
        assert handler.counts.gaps == 0


async def test_a_quiet_instrument_does_not_wait_for_the_beat(
    clean_redis: Redis, handler: FeedHandler, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributing, "BEAT_SECONDS", LONG)
    async with at_work(clean_redis, handler) as gateway:
        sender.ticks(some_records({1: 100}))
        await eventually(lambda: gateway.prices == {1: 100})
        monkeypatch.setattr(distributing, "QUIET_NS", int(LONG * 1e9))
        sender.ticks(some_records({1: 101, 2: 200}))
        await asyncio.sleep(0.3)
        assert gateway.prices[1] == 100, "it was told a moment ago: the beat will tell it"


async def test_what_redis_forgot_is_published_again(
    clean_redis: Redis, handler: FeedHandler, sender: Sender
) -> None:
    async with at_work(clean_redis, handler) as gateway:
        sender.ticks(some_records({1: 100, 2: 200}))
        await eventually(lambda: gateway.prices == {1: 100, 2: 200})
        gateway.prices.clear()
        await _forget(clean_redis)
        await eventually(lambda: gateway.prices == {1: 100, 2: 200})


async def test_after_a_restart_everything_current_is_published_again(
    clean_redis: Redis, settings: Settings, sender: Sender
) -> None:
    with bound(settings) as first:
        async with at_work(clean_redis, first) as gateway:
            sender.ticks(some_records({1: 100, 2: 200}))
            await eventually(lambda: gateway.prices == {1: 100, 2: 200})
    sender.ticks(some_records({2: 201}))
    # Whatever the gateway is told from here on, the second distributor has published.
    await clean_redis.delete(*(latest(group_of("NSE", token)) for token in TOKENS))
    with bound(settings) as second:
        async with at_work(clean_redis, second) as gateway:
            await eventually(lambda: gateway.prices == {1: 100, 2: 201})


async def test_a_killed_redis_comes_back_and_gateways_end_with_the_current_prices(
    own_valkey: tuple[Settings, Supervisor], handler: FeedHandler, sender: Sender
) -> None:
    settings, supervisor = own_valkey
    async with open_redis(settings.redis_dsn) as redis, at_work(redis, handler) as gateway:
        sender.ticks(some_records(dict.fromkeys(TOKENS, 1)))
        await eventually(lambda: gateway.prices == dict.fromkeys(TOKENS, 1))
        os.kill(supervisor.pid("valkey"), signal.SIGKILL)
        sender.ticks(some_records({1: 2, 2: 2}))
        await eventually(lambda: supervisor.pid("valkey") == 0)
        await asyncio.to_thread(supervisor.start, "valkey")
        await asyncio.to_thread(supervisor.wait_healthy, "valkey")
        current = dict.fromkeys(TOKENS, 1) | {1: 2, 2: 2}
        await eventually(lambda: gateway.prices == current, within=30)
        newcomer = Gateway(redis)
        running = asyncio.create_task(newcomer.watcher.run())
        await newcomer.watch()
        running.cancel()
        assert newcomer.prices == current, "whoever comes later finds everything too"
