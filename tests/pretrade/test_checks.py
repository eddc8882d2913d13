"""What the gates ask of the market as it stands: bands that have moved, and the price of the last trades."""

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import date
from datetime import time as clock

import numpy as np
import pytest
from redis.asyncio import Redis

from bus.last_prices import LastPrices
from bus.tick_bus import Publisher
from bus.ticks import TICK, group_of
from domain.changes import Change
from domain.exchange_terms import Admission
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.margin import Hold
from domain.orders import OrderType, Product, Side
from domain.rejects import Refusal
from domain.reports import BandSet, MarketPhase
from domain.time import ist_ns, trade_date
from pretrade.checks import PreTradeChecks, PricedOrder
from pretrade.day_rules import DayRules
from storage.database import Database
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.market.phases import MarketPhases
from storage.orders.changes import ChangeableOrder
from tests.support.builders import an_instrument, some_terms

NAMES = {"exchange": "XJ", "token": 77}
SHARE = an_instrument(instrument_id="XJ:SHARE", symbol="SHARE", **NAMES)
FUTURE = an_instrument(
    instrument_id="XJ:FUTURE",
    symbol="FUTURE",
    segment=Segment.FO,
    kind=InstrumentKind.FUTURE,
    underlying="XJ:SHARE",
    exchange="XJ",
    token=78,
)
NOW = Admission(MarketPhase.CONTINUOUS)


@pytest.fixture
async def phases(database: Database) -> AsyncIterator[MarketPhases]:
    yield MarketPhases(database)
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM price_bands WHERE instrument_id LIKE 'XJ:%'")


@pytest.fixture
def judge(redis: Redis, phases: MarketPhases) -> PreTradeChecks:
    listed = {row.instrument_id: row for row in (SHARE, FUTURE)}
    return PreTradeChecks(listed, DayRules(listed.values()), phases, LastPrices(redis), 20)


async def last_trade(redis: Redis, price: int, stale: int = 0, of: Instrument = FUTURE) -> None:
    row = np.zeros(1, TICK)
    row["token"], row["ltp"], row["stale"] = of.token, price, stale
    publisher = Publisher(redis)
    await publisher.publish({group_of("XJ", of.token): row})
    await publisher.beat()


async def test_a_price_is_held_against_the_band_as_it_stands(
    judge: PreTradeChecks, phases: MarketPhases, database: Database
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


@pytest.mark.parametrize("moment", ["2026-03-31", "2025-06-02", "2021-01-04"])
async def test_before_the_first_rules_an_order_is_refused_with_their_day(
    redis: Redis, phases: MarketPhases, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = date.fromisoformat(moment)
    listed = {row.instrument_id: row for row in (SHARE, FUTURE)}
    judge = PreTradeChecks(listed, DayRules(listed.values()), phases, LastPrices(redis), 20)
    monkeypatch.setattr(time, "time_ns", lambda: ist_ns(day, clock(10)))
    for instrument_id in listed:
        asked = some_terms(instrument_id=instrument_id, product=Product.MIS)
        judged = await judge.gates(asked, day)
        assert [(r.code, r.limit) for r in judged.refusals] == [("RULES_UNKNOWN", moment)]
        assert judged.admission is None
        leaving = await judge.leaving(asked, NOW)
        assert isinstance(leaving, Refusal) and leaving.code == "RULES_UNKNOWN", "a dry run asks, too"


async def test_a_derivative_s_price_is_held_against_the_last_trades(
    judge: PreTradeChecks, redis: Redis
) -> None:
    far = some_terms(instrument_id="XJ:FUTURE", price=2600_00)
    await last_trade(redis, 2450_00)
    last = await judge.last_trades(far)
    refused = judge.beyond_protection(far, NOW, last)
    assert refused is not None
    assert (refused.code, refused.nearest) == ("PRICE_BEYOND_PROTECTION", "2523.50")
    near = some_terms(instrument_id="XJ:FUTURE", price=2523_50)
    sale = some_terms(instrument_id="XJ:FUTURE", price=2600_00, side=Side.SELL)
    assert judge.beyond_protection(near, NOW, last) is None
    assert judge.beyond_protection(sale, NOW, last) is None
    # A stop is looked at when it triggers, an armed order when it leaves, a share not at all.
    stop = some_terms(
        instrument_id="XJ:FUTURE", price=2600_00, trigger_price=2590_00, order_type=OrderType.SL
    )
    armed = Admission(MarketPhase.PRE_OPEN_ENTRY, (MarketPhase.CONTINUOUS,))
    assert judge.beyond_protection(stop, NOW, last) is None
    assert judge.beyond_protection(far, armed, last) is None
    assert await judge.last_trades(some_terms(instrument_id="XJ:SHARE", price=2600_00)) is None


SHORT = some_terms(instrument_id="XJ:SHARE", product=Product.MIS, side=Side.SELL, price=SHARE.lower_band)


async def test_a_short_below_the_market_is_margined_at_the_market(
    judge: PreTradeChecks, redis: Redis
) -> None:
    await last_trade(redis, 2450_00, of=SHARE)
    short = await judge.leaving(SHORT, NOW)
    assert isinstance(short, PricedOrder)
    assert (short.exchange_terms.price, short.unit_margin) == (SHARE.lower_band, 490_00)
    bought = await judge.leaving(replace(SHORT, side=Side.BUY), NOW)
    assert isinstance(bought, PricedOrder) and bought.unit_margin == SHARE.lower_band // 5
    # Of a price that nobody vouches for nothing is known but the band.
    await last_trade(redis, 2300_00, stale=1, of=SHARE)
    unknown = await judge.leaving(SHORT, NOW)
    assert isinstance(unknown, PricedOrder) and unknown.unit_margin == SHARE.upper_band // 5


@pytest.mark.parametrize(
    ("asked", "unit"),
    [
        # From Rs 2,500 to a limit below the market: the market's price.
        (Change(price=2300_00), 490_00),
        (Change(price=2600_00), 520_00),
        (Change(quantity=200), 500_00),
        (Change(quantity=50), 450_00),
    ],
)
async def test_a_changed_short_is_margined_at_the_market_and_a_smaller_one_as_it_was(
    judge: PreTradeChecks, redis: Redis, asked: Change, unit: int
) -> None:
    """It was blocked at Rs 450 a share; making less of it never needs more."""
    await last_trade(redis, 2450_00, of=SHARE)
    terms = replace(SHORT, price=2500_00)
    stands = ChangeableOrder(terms, 0, Hold(Side.SELL, "XJ:SHARE|MIS", True, 450_00, 100, 0), 0, unsent=True)
    last = await judge.last_trades(terms)
    answer = judge.change(stands, asked, asked.applied_to(terms), last)
    assert isinstance(answer, PricedOrder) and answer.unit_margin == unit


async def test_a_contract_that_ends_before_the_order_is_released_is_refused(
    database: Database, redis: Redis, phases: MarketPhases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placed on the evening of Monday the 23rd, for Wednesday: Tuesday is a holiday."""
    monkeypatch.setattr(time, "time_ns", lambda: ist_ns(date(2026, 11, 23), clock(16, 30)))
    last_days = [date(2026, 11, day) for day in (20, 23, 24, 25)]
    rows = [
        replace(FUTURE, instrument_id=f"XJ:F{day.day}", symbol=f"F{day.day}", expiry=day, token=100 + n)
        for n, day in enumerate(last_days)
    ]
    listed = {row.instrument_id: row for row in rows}
    judge = PreTradeChecks(listed, DayRules(rows), phases, LastPrices(redis), 20)
    async with database.transaction() as conn:
        for row in rows:
            facts = asdict(row) | {"session_class": "FO"}
            marks = ", ".join(f"%({name})s" for name in facts)
            query = f"INSERT INTO instruments ({', '.join(facts)}) VALUES ({marks})"
            await conn.execute(query.encode(), facts)
        await conn.execute(
            "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns)"
            " VALUES ('XJ', 'FO', 'FO', 'CLOSED', 1)"
        )
    try:
        await phases.refresh()
        found = []
        for row in rows:
            terms = some_terms(instrument_id=row.instrument_id, product=Product.NRML)
            judged = await judge.gates(terms, date(2026, 11, 23))
            found.append([refusal.code for refusal in judged.refusals])
        assert found == [["INSTRUMENT_EXPIRED"], ["INSTRUMENT_EXPIRED"], ["INSTRUMENT_EXPIRED"], []]
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM market_phases WHERE exchange = 'XJ'")
            await conn.execute("DELETE FROM instruments WHERE exchange = 'XJ'")


async def test_a_change_is_held_against_the_last_trades_too(
    judge: PreTradeChecks, phases: MarketPhases, database: Database, redis: Redis
) -> None:
    await last_trade(redis, 2450_00)
    terms = some_terms(instrument_id="XJ:FUTURE", product=Product.NRML, price=2400_00)
    hold = Hold(Side.BUY, "XJ:FUTURE|NRML", True, 0, 100, 0)
    async with database.transaction() as conn:
        for row in (SHARE, FUTURE):
            facts = asdict(row) | {"session_class": "CAS"}
            marks = ", ".join(f"%({name})s" for name in facts)
            query = f"INSERT INTO instruments ({', '.join(facts)}) VALUES ({marks})"
            await conn.execute(query.encode(), facts)
        for segment in Segment:
            await conn.execute(
                "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns)"
                " VALUES ('XJ', %s, 'CAS', 'CONTINUOUS', 1)",
                (segment,),
            )
    try:
        await phases.refresh()

        async def changed(price: int, *, unsent: bool = False) -> str:
            stands = ChangeableOrder(terms, 0, hold, 0, unsent)
            asked = Change(price=price)
            last = await judge.last_trades(terms)
            answer = judge.change(stands, asked, asked.applied_to(terms), last)
            return answer.code.value if isinstance(answer, Refusal) else "taken"

        assert await changed(2520_00) == "taken"
        assert await changed(2600_00) == "PRICE_BEYOND_PROTECTION"
        # One that has not left is judged when it does.
        assert await changed(2600_00, unsent=True) == "taken"
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM market_phases WHERE exchange = 'XJ'")
            await conn.execute("DELETE FROM instruments WHERE exchange = 'XJ'")


async def test_where_the_last_price_is_not_known_the_exchange_decides(
    judge: PreTradeChecks, redis: Redis
) -> None:
    await last_trade(redis, 2450_00, stale=1)
    far = some_terms(instrument_id="XJ:FUTURE", price=2600_00)
    assert await judge.last_trades(far) is None
    assert judge.beyond_protection(far, NOW, None) is None
