"""Lives of orders between real books and a real exchange: races, refusals, stops, halts and the day's end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from config.settings import Settings
from domain.orders import OrderType, PlacedOrder, Product, Side
from domain.reports import MarketPhase
from storage.database import Database
from tests.support.brokerage import Brokerage, brokerage
from tests.support.evidence import collect
from tests.support.invariants import broken
from workflow_api.results import PASSED

PRICE = 2450_00
CASH = 100_000_00


@pytest_asyncio.fixture
async def broker(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Brokerage]:
    async with brokerage(database, redis, tmp_path) as opened:
        yield opened


@pytest.fixture
def evidence(servers: Settings, broker: Brokerage, tmp_path: Path) -> Settings:
    """Where the books and the exchange's files are."""
    where = {"data_dir": tmp_path, "postgres_url": servers.postgres_dsn, "redis_url": servers.redis_dsn}
    return servers.model_copy(update=where | {"exchanges": (broker.listed.exchange,)})


async def resting(broker: Brokerage, **terms: Any) -> PlacedOrder:
    """A purchase in the exchange's book."""
    placed = await broker.place(await broker.client(CASH), **({"quantity": 10, "price": PRICE} | terms))
    await broker.settle()
    return placed


async def sold_to(broker: Brokerage, quantity: int, price: int = PRICE) -> None:
    """Someone sells; what that means is still on the line."""
    seller = await broker.client(CASH, quantity)
    await broker.submit(await broker.place(seller, side=Side.SELL, quantity=quantity, price=price))
    await broker.send()


async def seen(broker: Brokerage, placed: PlacedOrder) -> tuple[str, int, int]:
    """Status, filled quantity, and what is blocked for the order."""
    async with broker.mortal.reading() as conn:
        found = await conn.execute(
            "SELECT status, filled_quantity, open_quantity * unit_margin AS blocked FROM orders"
            " JOIN margin_holds USING (order_id) WHERE order_id = %s",
            (placed.order_id,),
        )
        row = await found.fetchone()
    assert row is not None
    return row["status"], row["filled_quantity"], row["blocked"]


async def reason(broker: Brokerage, placed: PlacedOrder) -> str:
    """The code of the last refusal on the order's record."""
    async with broker.mortal.reading() as conn:
        found = await conn.execute(
            "SELECT detail->>'reject_code' AS code FROM audit_log"
            " WHERE order_id = %s AND detail ? 'reject_code' ORDER BY audit_id DESC LIMIT 1",
            (placed.order_id,),
        )
        row = await found.fetchone()
    return str(row["code"]) if row else ""


async def test_a_fill_that_comes_before_the_cancel_wins(broker: Brokerage, evidence: Settings) -> None:
    placed = await resting(broker)
    await sold_to(broker, 10)
    assert (await broker.cancel(placed)).decision == PASSED, "the broker has not heard of the fill"
    await broker.settle()
    assert await seen(broker, placed) == ("EXECUTED", 10, 0)
    assert await reason(broker, placed) == "EXCHANGE_TOO_LATE"
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_cancel_that_comes_before_the_fill_wins_and_keeps_what_has_traded(
    broker: Brokerage, evidence: Settings
) -> None:
    placed = await resting(broker)
    await sold_to(broker, 4)
    await broker.cancel(placed)
    await broker.send()
    await sold_to(broker, 6)
    await broker.settle()
    assert await seen(broker, placed) == ("CANCELLED", 4, 0)
    assert broken(collect(evidence, broker.requests)) == []


@pytest.mark.parametrize(
    ("sold", "expected"),
    [
        (3, ("PARTIALLY_FILLED", 3, 2 * (PRICE + 10))),
        (5, ("PARTIALLY_FILLED", 5, 5 * PRICE)),
        (10, ("EXECUTED", 10, 0)),
    ],
)
async def test_of_a_fill_and_a_change_to_five_the_exchange_decides_and_the_hold_is_what_is_left(
    broker: Brokerage, evidence: Settings, sold: int, expected: tuple[str, int, int]
) -> None:
    """Nobody but the exchange knows of the fill when the change is asked."""
    placed = await resting(broker)
    await sold_to(broker, sold)
    assert (await broker.change(placed, 5, PRICE + 10)).decision == PASSED
    await broker.settle()
    assert await seen(broker, placed) == expected
    assert await reason(broker, placed) == ("" if sold < 5 else "EXCHANGE_TOO_LATE")
    assert broken(collect(evidence, broker.requests)) == []


async def test_what_the_exchange_rejects_gives_its_margin_back(broker: Brokerage, evidence: Settings) -> None:
    beyond = broker.listed.upper_band + 10
    placed = await broker.place(await broker.client(CASH), quantity=1, price=beyond)
    await broker.settle()
    assert await seen(broker, placed) == ("REJECTED", 0, 0)
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_stop_waits_for_its_trigger_and_is_filled_as_what_it_then_is(
    broker: Brokerage, evidence: Settings
) -> None:
    trigger, limit = PRICE + 100, PRICE + 200
    terms = {"order_type": OrderType.SL, "trigger_price": trigger, "price": limit, "product": Product.MIS}
    stop = await resting(broker, **terms)
    assert (await seen(broker, stop))[0] == "TRIGGER_PENDING"
    other = await resting(broker, quantity=1, price=trigger)
    await sold_to(broker, 1, trigger)
    await sold_to(broker, 4, trigger)
    await broker.settle()
    assert (await seen(broker, other))[0] == "EXECUTED"
    assert (await seen(broker, stop))[:2] == ("PARTIALLY_FILLED", 4)
    assert broken(collect(evidence, broker.requests)) == []


async def test_in_a_halt_an_order_stays_may_be_cancelled_and_nothing_else(
    broker: Brokerage, evidence: Settings
) -> None:
    placed, other = await resting(broker), await resting(broker)
    broker.enter(MarketPhase.HALTED)
    await broker.change(placed, 5, PRICE)
    await broker.cancel(other)
    refused = await broker.place(placed.user_id, quantity=1, price=PRICE)
    await broker.settle()
    assert await seen(broker, placed) == ("OPEN", 0, 10 * PRICE)
    assert (await seen(broker, other))[0] == "CANCELLED"
    assert (await seen(broker, refused))[0] == "REJECTED"
    assert broken(collect(evidence, broker.requests)) == []


async def test_the_day_s_end_expires_what_is_open_and_keeps_what_has_traded(
    broker: Brokerage, evidence: Settings
) -> None:
    placed = await resting(broker)
    await sold_to(broker, 4)
    broker.enter(MarketPhase.CLOSED)
    await broker.settle()
    assert await seen(broker, placed) == ("EXPIRED", 4, 0)
    assert broken(collect(evidence, broker.requests)) == []
