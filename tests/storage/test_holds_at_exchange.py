"""Holds against what the exchange may fill: planted faults are found, though our books agree in them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.reconciliation import Reconciliation
from domain.orders import OrderType, PlacedOrder, Product, Side
from domain.time import NANOS
from storage.books import holds_at_exchange
from storage.database import Database
from tests.support.brokerage import PERCENT, Brokerage, brokerage
from tests.support.desk import alerted
from tests.support.portfolios import some_portfolios

CASH = 100_000_000_00
LOW = {"order_type": OrderType.LIMIT, "price": 2400_00}
LATER_NS = 10 * NANOS


@pytest.fixture
async def broker(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Brokerage]:
    async with brokerage(database, redis, tmp_path) as opened:
        yield opened


async def sentences(database: Database, user_id: int, *, later_ns: int = 0) -> list[str]:
    found = await holds_at_exchange.faults(database, PERCENT, time.time_ns() + later_ns)
    return sorted(fault.sentence for fault in found if fault.user_id == user_id)


async def resting(broker: Brokerage, user_id: int, quantity: int = 30, **terms: object) -> PlacedOrder:
    """In the exchange's book, and nothing under way."""
    placed = await broker.place(user_id, quantity=quantity, **({**LOW, "product": Product.CNC} | terms))
    await broker.settle()
    return placed


async def plant(database: Database, placed: PlacedOrder, hold: str, blocked: int) -> None:
    """Another hold, and a ledger that agrees with it."""
    async with database.transaction() as conn:
        await conn.execute(f"UPDATE margin_holds SET {hold} WHERE order_id = %s".encode(), (placed.order_id,))
        await conn.execute(
            "UPDATE margin_ledger SET blocked_margin = blocked_margin + %s WHERE user_id = %s",
            (blocked, placed.user_id),
        )


async def test_a_clean_book_finds_nothing_at_any_step(database: Database, broker: Brokerage) -> None:
    user_id = await broker.client(CASH, 100)

    async def nothing() -> None:
        assert await sentences(database, user_id) == []

    placed = await broker.place(user_id, quantity=30, **LOW)
    sale = await broker.place(user_id, quantity=20, side=Side.SELL, **LOW | {"price": 2600_00})
    await nothing()
    for one in (placed, sale):
        await broker.submit(one)
        await nothing()
    await broker.send()
    await nothing()
    await broker.arrive(*broker.line)
    await nothing()
    await broker.book(placed)
    await broker.book(sale)
    await nothing()
    await broker.change(placed, 50, 2300_00)
    await nothing()
    await broker.settle()
    await nothing()
    await broker.change(placed, 10, 2410_00)
    await broker.send()
    await nothing()
    await broker.settle()
    await nothing()
    crossing = await broker.place(user_id, quantity=4, side=Side.SELL, **LOW | {"price": 2410_00})
    await broker.settle()
    assert await sentences(database, user_id, later_ns=LATER_NS) == []
    for one in (placed, sale, crossing):
        await broker.cancel(one)
    await broker.settle()
    assert await sentences(database, user_id, later_ns=LATER_NS) == []


@pytest.mark.parametrize(
    ("hold", "change", "words"),
    [
        ("unit_margin = 100", -30 * (2400_00 - 100), "Rs 2400.00 of margin; Rs 1.00 are held"),
        ("unit_margin = 250000", 30 * 100_00, "Rs 2400.00 of margin; Rs 2500.00 are held"),
        ("open_quantity = 1", -29 * 2400_00, "fill 30 of order {}; margin is held for 1"),
        ("open_quantity = 31", 2400_00, "fill 30 of order {}; margin is held for 31"),
        (
            "open_quantity = 0, state = 'RELEASED'",
            -30 * 2400_00,
            "fill 30 of order {}; margin is held for 0",
        ),
    ],
)
async def test_a_hold_that_ledger_and_holds_agree_in_is_held_against_the_exchange(
    database: Database, broker: Brokerage, hold: str, change: int, words: str
) -> None:
    user_id = await broker.client(CASH)
    placed = await resting(broker, user_id)
    assert await sentences(database, user_id) == []
    await plant(database, placed, hold, change)
    (sentence,) = await sentences(database, user_id)
    assert words.format(placed.order_id) in sentence


async def test_until_a_change_is_answered_the_hold_covers_the_dearer(
    database: Database, broker: Brokerage
) -> None:
    user_id = await broker.client(CASH)
    placed = await resting(broker, user_id)
    await broker.change(placed, 60, 2450_00)
    assert await sentences(database, user_id) == []
    await plant(database, placed, "open_quantity = 30", -30 * 2450_00)
    (sentence,) = await sentences(database, user_id)
    assert "may fill 60" in sentence
    await plant(database, placed, "open_quantity = 60, unit_margin = 240000", 30 * 2450_00 - 60 * 50_00)
    (sentence,) = await sentences(database, user_id)
    assert "needs Rs 2450.00" in sentence


async def test_an_order_that_has_ended_and_still_holds_margin_is_given_five_seconds(
    database: Database, broker: Brokerage
) -> None:
    user_id = await broker.client(CASH)
    placed = await resting(broker, user_id)
    await broker.cancel(placed)
    await broker.settle()
    await plant(database, placed, "open_quantity = 30, state = 'BLOCKED'", 30 * 2400_00)
    assert await sentences(database, user_id) == []
    (sentence,) = await sentences(database, user_id, later_ns=LATER_NS)
    assert "may fill 0" in sentence and "held for 30" in sentence


async def test_a_report_that_is_not_booked_is_left_to_its_age(database: Database, broker: Brokerage) -> None:
    user_id, other = await broker.client(CASH), await broker.client(CASH, 100)
    placed = await resting(broker, user_id)
    await broker.submit(await broker.place(other, quantity=10, side=Side.SELL, **LOW))
    await broker.send()
    await broker.arrive(*broker.line)
    assert await sentences(database, user_id) == []
    await broker.book(placed)
    assert await sentences(database, user_id) == []


async def test_an_order_that_closes_what_is_not_there_is_found(database: Database, broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    placed = await resting(broker, user_id, product=Product.MIS, side=Side.BUY)
    assert await sentences(database, user_id) == []
    await plant(database, placed, "open_quantity = 0, close_quantity = 30", -30 * 480_00)
    (sentence,) = await sentences(database, user_id)
    assert "to buy 30 of" in sentence and "a position of 0" in sentence
    await plant(database, placed, "open_quantity = 30, close_quantity = 0", 30 * 480_00)


async def test_the_desk_hears_of_a_wrong_hold_once(
    database: Database, redis: Redis, broker: Brokerage
) -> None:
    user_id = await broker.client(CASH)
    placed = await resting(broker, user_id)
    await plant(database, placed, "unit_margin = 100", -30 * (2400_00 - 100))
    await broker.view.rebuild(user_id)
    reconciliation = Reconciliation(database, redis, some_portfolios(database, redis), PERCENT)
    alerts = [
        [alert for alert in found.alerts if str(placed.order_id) in alert]
        for found in [await ActivityEnvironment().run(reconciliation.reconcile) for _ in range(2)]
    ]
    assert [len(heard) for heard in alerts] == [1, 0]
    assert await alerted(database, user_id) == ["HOLD_WRONG"]
