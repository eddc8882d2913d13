"""A day's end through the exchange's tape, UDP, the distributor and the bus: the file's last prices.

Far faster than 60 times: a second of the file is a beat of the tape. Packets may be lost on the way; the end
must be the same, because gaps are healed.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bus.tick_bus import Watcher
from bus.ticks import Ticks, group_of
from config.settings import Settings
from tests.realtime.test_distributor_process import Distributor
from tests.support.eventually import eventually
from tests.support.market_data import recorded
from tests.support.tick_day import MASTER, PlayedExchange, TickDay, generated_day, recorded_day


@pytest.fixture
async def distributor(servers: Settings) -> AsyncIterator[Distributor]:
    opened = Distributor(servers)
    await opened.ready()
    yield opened
    assert opened.end(signal.SIGTERM) == 0


async def test_the_last_price_of_every_instrument_is_the_last_one_of_a_generated_day(
    distributor: Distributor, redis: Redis, tmp_path: Path
) -> None:
    await _last_prices_arrive(generated_day(tmp_path), distributor, redis)


@recorded
@pytest.mark.timeout(300)
async def test_the_last_price_of_every_instrument_is_the_last_one_of_the_recorded_day(
    distributor: Distributor, redis: Redis
) -> None:
    await _last_prices_arrive(recorded_day(), distributor, redis)


async def _last_prices_arrive(day: TickDay, distributor: Distributor, redis: Redis) -> None:
    prices: dict[int, int] = {}

    def told(_: str, rows: Ticks) -> None:
        prices.update(zip(rows["token"].tolist(), rows["ltp"].tolist(), strict=True))

    watcher = Watcher(redis, told)
    running = asyncio.create_task(watcher.run())
    for group in {group_of("NSE", instrument.token) for instrument in MASTER.values()}:
        told(group, await watcher.watch(group))
    exchange = PlayedExchange(distributor.settings, day)
    await asyncio.to_thread(exchange.play)
    assert exchange.ticks > 30_000 and len(exchange.last) > 40

    def all_last() -> bool:
        exchange.beat()
        return {token: prices.get(token) for token in exchange.last} == exchange.last

    await eventually(all_last, within=20)
    exchange.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
