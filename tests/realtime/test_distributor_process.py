"""The distributor as a process between a real exchange and real servers: at work, killed, restarted."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial

import pytest
from psycopg.rows import DictRow
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from bus.health import Health, read_one
from bus.tick_bus import Watcher
from bus.ticks import Ticks, group_of
from config.settings import Settings
from exchange.files.master import read_master
from realtime.feed.candles import MINUTE_NS
from storage.database import Database
from storage.market import candles
from tests.support.edge import Edge, start
from tests.support.eventually import eventually

RELIANCE = read_master("NSE")["RELIANCE"]
GROUP = group_of("NSE", RELIANCE.token)


def health(settings: Settings, process: "subprocess.Popen[bytes]") -> Health | None:
    with BlockingRedis.from_url(settings.redis_dsn) as redis:
        found = read_one(redis, "distributor")
    return found if found is not None and found.pid == process.pid else None


@pytest.fixture(scope="module")
def exchange(servers: Settings) -> Iterator[Edge]:
    """NSE alone."""
    edge = Edge(servers)
    edge.start_exchange("NSE")
    yield edge
    edge.stop_exchange("NSE")


class Distributor:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        changes = {"redis_url": settings.redis_url} if settings.redis_url else {}
        self.process = start(settings, "from workers.distributor import main; main()", **changes)

    async def ready(self) -> Health:
        found = await eventually(partial(health, self.settings, self.process), within=30)
        assert found is not None
        return found

    def detail_with(self, word: str) -> str:
        """The health line once it speaks of the word and of a silent line, nothing before."""
        found = health(self.settings, self.process)
        return found.detail if found and word in found.detail and "silent" in found.detail else ""

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            # Whatever it did, it does not publish into the tests that follow.
            self.process.kill()


@pytest.fixture
async def distributor(exchange: Edge) -> AsyncIterator[Distributor]:
    opened = Distributor(exchange.settings)
    await opened.ready()
    yield opened
    if opened.process.poll() is None:
        assert opened.end(signal.SIGTERM) == 0


class Gateway:
    """Watches RELIANCE's group."""

    def __init__(self, redis: Redis) -> None:
        self.watcher = Watcher(redis, self.told)
        self.rows: list[Ticks] = []

    def told(self, _: str, rows: Ticks) -> None:
        self.rows += [row for row in rows if row["token"] == RELIANCE.token]


@pytest.fixture
async def gateway(redis: Redis) -> AsyncIterator[Gateway]:
    opened = Gateway(redis)
    running = asyncio.create_task(opened.watcher.run())
    opened.told(GROUP, await opened.watcher.watch(GROUP))
    yield opened
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_exchange_reaches_a_gateway_and_candles_are_kept(
    distributor: Distributor, gateway: Gateway, database: Database
) -> None:
    begun = time.time_ns() - 2 * MINUTE_NS
    await eventually(lambda: gateway.rows, within=20)
    row = gateway.rows[-1]
    assert RELIANCE.lower_band <= row["ltp"] <= RELIANCE.upper_band
    assert 0 < row["bids"][0]["price"] < row["asks"][0]["price"]
    assert row["previous_close"] == RELIANCE.previous_close and row["stale"] == 0
    detail = await eventually(lambda: distributor.detail_with("BSE"))
    assert "line A silent" in detail and "NSE" in detail and "0 gaps" in detail
    kept = await eventually(lambda: _candles(database, begun), within=30)
    assert all(row["low"] <= row["close"] <= row["high"] and row["volume"] >= 0 for row in kept)


async def _candles(database: Database, from_ns: int) -> list[DictRow]:
    """Of any of the exchange's instruments."""
    ids = [instrument.instrument_id for instrument in read_master("NSE").values()]
    return [row for each in ids for row in await candles.read(database, each, from_ns, 2**62, 10)]


async def test_after_kill_9_the_next_one_publishes_everything_current(
    distributor: Distributor, gateway: Gateway, redis: Redis
) -> None:
    await eventually(lambda: gateway.rows, within=20)
    distributor.end(signal.SIGKILL)
    seen = int(gateway.rows[-1]["received_ns"])
    successor = Distributor(distributor.settings)
    try:
        await eventually(lambda: gateway.rows[-1]["received_ns"] > seen, within=30)
        known = {instrument.token for instrument in read_master("NSE").values()}

        async def told() -> set[int]:
            newcomer = Watcher(redis, lambda *_: None)
            running = asyncio.create_task(newcomer.run())
            groups = {group_of("NSE", token) for token in known}
            rows = [row for group in groups for row in await newcomer.watch(group)]
            running.cancel()
            return {int(row["token"]) for row in rows if row["received_ns"] > seen and not row["stale"]}

        async def all_told() -> bool:
            return await told() == known

        await eventually(all_told, within=30)
    finally:
        successor.end(signal.SIGTERM)
