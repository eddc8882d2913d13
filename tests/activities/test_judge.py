"""What the gates ask of the market as it stands: bands that have moved, and the price of the last trades."""

import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
from redis.asyncio import Redis

from activities.judge import Judge
from activities.trading_day import TradingDay
from domain.departure import Entry
from domain.instruments import InstrumentKind, Segment
from domain.orders import OrderType, Side
from domain.reports import BandSet, MarketPhase
from domain.time import trade_date
from exchange.last_prices import LastPrices
from exchange.ticks import TICK, group_of
from realtime.bus import Publisher
from storage.arrivals import Arrival
from storage.database import Database
from storage.exchange_journal import write
from storage.market_phases import MarketPhases
from tests.support.builders import an_instrument, some_terms

NAMES = {"exchange": "XJ", "token": 77}
SHARE = an_instrument(instrument_id="XJ:SHARE", symbol="SHARE", **NAMES)
FUTURE = an_instrument(
    instrument_id="XJ:FUTURE",
    symbol="FUTURE",
    segment=Segment.FO,
    kind=InstrumentKind.FUTURE,
    underlying="XJ:SHARE",
    **NAMES,
)
NOW = Entry(MarketPhase.CONTINUOUS)


@pytest.fixture
async def phases(database: Database) -> AsyncIterator[MarketPhases]:
    yield MarketPhases(database)
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM price_bands WHERE instrument_id LIKE 'XJ:%'")


@pytest.fixture
def judge(redis: Redis, phases: MarketPhases) -> Judge:
    listed = {row.instrument_id: row for row in (SHARE, FUTURE)}
    return Judge(listed, TradingDay(listed.values()), phases, LastPrices(redis), 20)


async def last_trade(redis: Redis, price: int, stale: int = 0) -> None:
    row = np.zeros(1, TICK)
    row["token"], row["ltp"], row["stale"] = FUTURE.token, price, stale
    publisher = Publisher(redis)
    await publisher.publish({group_of("XJ", FUTURE.token): row})
    await publisher.beat()


async def test_a_price_is_held_against_the_band_as_it_stands(
    judge: Judge, phases: MarketPhases, database: Database
) -> None:
    terms = some_terms(instrument_id="XJ:SHARE", price=SHARE.upper_band + 10)
    today = trade_date(time.time_ns())
    (refused, _) = (await judge.gates(terms, today)).refusals
    assert (refused.code, refused.nearest) == ("PRICE_OUT_OF_BAND", "2695.00")
    moved = BandSet("XJ", "SHARE", 2327_50, 2817_50, time.time_ns())
    async with database.transaction() as conn:
        await write(conn, [], [Arrival("XJ", "X", time.time_ns(), moved, 1)], 1)
    await phases.refresh()
    assert [r.code for r in (await judge.gates(terms, today)).refusals] == ["MARKET_PHASE_UNKNOWN"]
    low = some_terms(instrument_id="XJ:SHARE", price=SHARE.lower_band)
    (refused, _) = (await judge.gates(low, today)).refusals
    assert (refused.code, refused.nearest) == ("PRICE_OUT_OF_BAND", "2327.50")


async def test_a_derivative_s_price_is_held_against_the_last_trades(judge: Judge, redis: Redis) -> None:
    far = some_terms(instrument_id="XJ:FUTURE", price=2600_00)
    await last_trade(redis, 2450_00)
    refused = await judge.beyond_protection(far, NOW)
    assert refused is not None
    assert (refused.code, refused.nearest) == ("PRICE_BEYOND_PROTECTION", "2523.50")
    assert await judge.beyond_protection(some_terms(instrument_id="XJ:FUTURE", price=2523_50), NOW) is None
    sale = some_terms(instrument_id="XJ:FUTURE", price=2600_00, side=Side.SELL)
    assert await judge.beyond_protection(sale, NOW) is None
    # A stop is looked at when it triggers, an armed order when it leaves, a share not at all.
    stop = some_terms(
        instrument_id="XJ:FUTURE", price=2600_00, trigger_price=2590_00, order_type=OrderType.SL
    )
    armed = Entry(MarketPhase.PRE_OPEN_ENTRY, (MarketPhase.CONTINUOUS,))
    share = some_terms(instrument_id="XJ:SHARE", price=2600_00)
    assert await judge.beyond_protection(stop, NOW) is None
    assert await judge.beyond_protection(far, armed) is None
    assert await judge.beyond_protection(share, NOW) is None


async def test_where_the_last_price_is_not_known_the_exchange_decides(judge: Judge, redis: Redis) -> None:
    await last_trade(redis, 2450_00, stale=1)
    assert await judge.beyond_protection(some_terms(instrument_id="XJ:FUTURE", price=2600_00), NOW) is None
