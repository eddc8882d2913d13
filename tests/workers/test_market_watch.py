"""A driven index halts the market and the exchange reopens it; a driven price reduces an account."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import time as clock
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from bus import wakeups
from bus.tick_bus import Publisher
from bus.ticks import ALIVE, TICK, group_of
from domain.risk_limits import RiskLimits
from domain.time import NANOS, ist_ns, trade_date
from domain.trading_states import Cause
from storage.database import Database
from storage.market.instruments import load_instruments
from storage.risk import halts, risk_limits, trading_states
from tests.support.desk import A_WORD, user
from tests.support.eventually import eventually
from tests.support.orders import new_users
from workers.market_watch import MarketWatch

NIFTY = "NSE:NIFTY 50"
CLOSE = 25_000_00


@pytest.fixture
async def publisher(redis: Redis) -> Publisher:
    return Publisher(redis)


@asynccontextmanager
async def watching(database: Database, redis: Redis) -> AsyncIterator[None]:
    instruments = await load_instruments(database)
    async with wakeups.listening(redis, wakeups.RISK_LIMITS) as limits, asyncio.TaskGroup() as tasks:
        watch = MarketWatch(database, redis, instruments, ["NSE", "BSE"])
        parts = [tasks.create_task(part) for part in watch.parts(limits)]
        try:
            yield
        finally:
            for part in parts:
                part.cancel()


async def tick(
    database: Database, publisher: Publisher, name: str, price: int, *, alive: bool = True, **changes: Any
) -> None:
    """Of a distributor that is at work, or of one that is not `alive` and says so no more."""
    instrument = (await load_instruments(database))[name]
    row = np.zeros(1, TICK)
    row["token"], row["ltp"], row["previous_close"] = instrument.token, price, CLOSE
    for field, value in changes.items():
        row[field] = value
    if alive:
        await publisher.beat()
    await publisher.publish({group_of(instrument.exchange, instrument.token): row})


async def states(database: Database) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["scope_id"], row["cause"]): row for row in await trading_states.in_force(database)}


@pytest.fixture(autouse=True)
async def a_day_without_halts(database: Database, publisher: Publisher) -> AsyncIterator[None]:
    """Before and after: the servers are shared, and whoever watches next begins with the last value."""
    await back_to_the_close(database, publisher)
    yield
    await back_to_the_close(database, publisher)


async def back_to_the_close(database: Database, publisher: Publisher) -> None:
    await tick(database, publisher, NIFTY, CLOSE)
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM market_halts")
        await conn.execute("DELETE FROM market_phases WHERE exchange = 'TEST'")
        await trading_states.unfreeze(conn, halts.EVERYTHING, [Cause.CIRCUIT], A_WORD)


@pytest.fixture
def in_the_morning(monkeypatch: pytest.MonkeyPatch) -> int:
    """Ten o'clock of today, for whoever watches: the rule depends on the hour, and the record is closed
    for days that are over."""
    now_ns = ist_ns(trade_date(time.time_ns()), clock(10))
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    return now_ns


async def test_a_fallen_index_halts_everything_once_and_the_exchange_s_word_reopens_it(
    database: Database, redis: Redis, publisher: Publisher, in_the_morning: int
) -> None:
    async with watching(database, redis):
        await tick(database, publisher, NIFTY, CLOSE * 91 // 100)
        await tick(database, publisher, NIFTY, 0)
        await tick(database, publisher, NIFTY, CLOSE * 80 // 100, stale=1)
        await asyncio.sleep(0.3)
        assert ("", "CIRCUIT") not in await states(database)
        await tick(database, publisher, NIFTY, CLOSE * 90 // 100)

        async def halted() -> bool:
            return ("", "CIRCUIT") in await states(database)

        await eventually(halted)
        state = (await states(database))["", "CIRCUIT"]
        assert (state["state"], state["actor"]) == ("HALTED", halts.ACTOR)
        assert state["reopens_at_ns"] == in_the_morning + 60 * 60 * NANOS
        await tick(database, publisher, NIFTY, CLOSE * 89 // 100)
        async with database.transaction() as conn:
            await conn.execute(
                "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns)"
                " VALUES ('TEST', 'CASH', 'CASH', 'PRE_OPEN_ENTRY', %s)",
                (in_the_morning + 1,),
            )

        async def reopened() -> bool:
            return not await halted()

        await eventually(reopened)
        # The stage has fired: the same move does not halt again, a larger one does.
        await tick(database, publisher, NIFTY, CLOSE * 88 // 100)
        await tick(database, publisher, NIFTY, CLOSE * 85 // 100)

        async def fired() -> list[int]:
            async with database.reading() as conn:
                found = await conn.execute("SELECT move_percent FROM market_halts ORDER BY 1")
                return [row["move_percent"] for row in await found.fetchall()]

        async def twice() -> bool:
            return await fired() == [10, 15]

        await eventually(twice)


async def test_what_a_dead_distributor_left_behind_halts_nothing_at_the_start_nor_later(
    database: Database, redis: Redis, publisher: Publisher, in_the_morning: int
) -> None:
    await redis.delete(ALIVE)
    await tick(database, publisher, NIFTY, CLOSE * 89 // 100, alive=False)
    async with watching(database, redis):
        await asyncio.sleep(0.5)
        assert ("", "CIRCUIT") not in await states(database)
        await tick(database, publisher, NIFTY, CLOSE * 88 // 100, alive=False)
        await asyncio.sleep(0.5)
        assert ("", "CIRCUIT") not in await states(database)

        # The value stands, and is acted on once somebody vouches for it again.
        async def halted() -> bool:
            await publisher.beat()
            async with database.reading() as conn:
                found = await conn.execute("SELECT count(*) AS halts FROM market_halts")
                return await found.fetchone() == {"halts": 1}

        await eventually(halted, within=20)


async def test_a_price_that_takes_an_account_above_its_limit_lets_it_only_reduce(
    database: Database, redis: Redis, publisher: Publisher
) -> None:
    (user_id,) = await new_users(database, 1)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO positions (user_id, instrument_id, product, sell_quantity, sell_value, open_cost)"
            " VALUES (%s, 'NSE:SBIN', 'MIS', 100, 8000000, -8000000)",
            (user_id,),
        )
        limits = RiskLimits(exposure=1_00_000_00, position=10**6, order_value=10**12)
        await risk_limits.set_limits(conn, user_id, trade_date(time.time_ns()), limits, A_WORD)
    name = (f"TEST{user_id}", "LIMITS")
    try:
        await redis.delete(ALIVE)
        await tick(database, publisher, "NSE:SBIN", 2_000_00, alive=False)
        async with watching(database, redis):
            await asyncio.sleep(1.5)
            assert name not in await states(database), (
                "of a dead distributor: the position counts at its cost"
            )
            await tick(database, publisher, "NSE:SBIN", 1_000_00)
            await asyncio.sleep(1.5)
            assert name not in await states(database)
            await tick(database, publisher, "NSE:SBIN", 1_000_01)

            async def reducing() -> bool:
                return name in await states(database)

            await eventually(reducing)
            state = (await states(database))[name]
            assert (state["state"], state["actor"]) == ("REDUCING", "exposure-watch")
            assert state["reason"] == "The exposure of Rs 100001.00 has passed the limit of Rs 100000.00."
            # Falling back does not lift it: the desk does.
            await tick(database, publisher, "NSE:SBIN", 500_00)
            await asyncio.sleep(1.5)
            assert name in await states(database)
    finally:
        async with database.transaction() as conn:
            await trading_states.unfreeze(conn, user(user_id), Cause, A_WORD)
            await conn.execute("DELETE FROM positions WHERE user_id = %s", (user_id,))
