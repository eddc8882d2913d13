"""Reports that nobody books, and reports that fit no order: told once each, counted while they last."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from domain.orders import OrderType, PlacedOrder, Side
from domain.time import NANOS
from storage.database import Database
from storage.journals import report_ages
from storage.journals.inbox_rows import Arrival
from storage.journals.report_ages import Late
from storage.risk.risk_alerts import Finding
from tests.support.brokerage import Brokerage, brokerage
from tests.support.desk import alerted
from workers.report_watch import ReportWatch

CASH = 100_000_000_00
NOTHING = Late(0, None, 0, None)


@pytest.fixture
async def broker(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Brokerage]:
    """Reports that other tests have left behind are nobody's any more."""
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM exchange_inbox WHERE booked_at_ns IS NULL OR broken IS NOT NULL")
    async with brokerage(database, redis, tmp_path) as opened:
        yield opened


async def late(database: Database, seconds: int) -> Late:
    """As it would be so many seconds from now."""
    return await report_ages.late(database, time.time_ns() + seconds * NANOS)


async def an_unbooked_fill(broker: Brokerage) -> PlacedOrder:
    """Journaled and told to the client; its order's booking has not come."""
    buyer, seller = await broker.client(CASH), await broker.client(CASH, 100)
    terms = {"order_type": OrderType.LIMIT, "price": 2450_00, "quantity": 10}
    purchase = await broker.place(buyer, **terms)
    sale = await broker.place(seller, side=Side.SELL, **terms)
    await broker.submit(purchase)
    await broker.send()
    await broker.arrive(*broker.line)
    await broker.book(purchase)
    await broker.submit(sale)
    await broker.send()
    await broker.arrive(*broker.line)
    await broker.book(sale)
    return purchase


async def age(database: Database, broker: Brokerage, seconds: int) -> None:
    """Every report of this exchange has come so long ago."""
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE exchange_inbox SET received_at_ns = %s WHERE exchange = %s",
            (time.time_ns() - seconds * NANOS, broker.listed.exchange),
        )


async def test_a_report_that_is_never_booked_is_late_after_five_seconds_until_it_is_booked(
    database: Database, broker: Brokerage
) -> None:
    purchase = await an_unbooked_fill(broker)
    assert await late(database, 3) == NOTHING
    assert (await late(database, 6)).reports == 1
    await age(database, broker, 12)
    found, now_ns = await late(database, 0), time.time_ns()
    assert (found.sentence(now_ns), found.age_seconds(now_ns)) == ("1 unbooked for 12 s", 12)
    await broker.book(purchase)
    assert await late(database, 0) == NOTHING and NOTHING.sentence(now_ns) == ""


async def test_the_desk_is_told_of_a_late_report_once_though_two_look_every_second(
    database: Database, redis: Redis, broker: Brokerage
) -> None:
    purchase = await an_unbooked_fill(broker)
    watches = [ReportWatch(database, redis, broker.keeping) for _ in range(2)]
    await asyncio.gather(*(watch.look() for watch in watches))
    assert await alerted(database, purchase.user_id) == []
    await age(database, broker, 6)
    for _ in range(3):
        await asyncio.gather(*(watch.look() for watch in watches))
    assert await alerted(database, purchase.user_id) == ["REPORT_UNBOOKED"]
    assert await late(database, 60) == NOTHING, "and it is booked, whoever has not done it"


async def test_a_trade_that_fits_nothing_for_long_is_told_and_believed_and_so_is_what_comes_after_it(
    database: Database, redis: Redis, broker: Brokerage
) -> None:
    user_id, other = await broker.client(CASH), await broker.client(CASH, 100)
    terms = {"order_type": OrderType.LIMIT, "price": 2450_00}
    placed = await broker.place(user_id, quantity=10, **terms)
    await broker.settle()
    for quantity in (4, 6):
        await broker.submit(await broker.place(other, quantity=quantity, side=Side.SELL, **terms))
    await broker.send()
    first, second = (one for one in broker.line if one.order_id == placed.order_id)
    await broker.arrive(second)
    found = await late(database, 6)
    assert (found.reports, found.breaks) == (0, 1)
    await age(database, broker, 6)
    watch = ReportWatch(database, redis, broker.keeping)
    await watch.look()
    await watch.look()
    assert await alerted(database, user_id) == ["REPORT_BROKEN", "TRADE_BELIEVED"]
    assert (await late(database, 6)).breaks == 0
    await broker.arrive(first)
    await age(database, broker, 6)
    await watch.look()
    await broker.settle()
    assert await late(database, 6) == NOTHING
    async with database.reading() as conn:
        rows = await conn.execute(
            "SELECT status, filled_quantity FROM orders WHERE order_id = %s", (placed.order_id,)
        )
        assert await rows.fetchone() == {"status": "EXECUTED", "filled_quantity": 10}


async def test_a_trade_of_no_order_of_ours_is_booked_to_the_error_account_and_not_late(
    database: Database, broker: Brokerage
) -> None:
    await an_unbooked_fill(broker)
    before = await late(database, 6)
    fill = next(iter(broker.standing.values()))
    nobodys = replace(fill, exec_id="NOBODYS", cl_ord_id="991231000000001")
    exchange, session = broker.listed.exchange, broker.session
    await broker.arrive(Arrival(exchange, session, 1_000, nobodys, time.time_ns()))
    assert await late(database, 6) == before


async def test_a_trade_that_counts_as_booked_and_is_not_in_the_books_is_found(
    database: Database, broker: Brokerage
) -> None:
    purchase = await an_unbooked_fill(broker)
    await broker.book(purchase)
    assert of(purchase, await report_ages.without_trade(database)) == []
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM trades WHERE order_id = %s", (purchase.order_id,))
    (finding,) = of(purchase, await report_ages.without_trade(database))
    assert "is booked, and there is no trade" in finding.sentence


async def test_a_bust_that_counts_as_booked_and_left_its_trade_standing_is_found(
    database: Database, broker: Brokerage
) -> None:
    purchase = await an_unbooked_fill(broker)
    await broker.book(purchase)
    broker.bust(next(name for name in broker.standing if name.endswith("B")))
    await broker.settle()
    assert of(purchase, await report_ages.without_trade(database)) == []
    async with database.transaction() as conn:
        await conn.execute("UPDATE trades SET undone_by = NULL WHERE order_id = %s", (purchase.order_id,))
    assert len(of(purchase, await report_ages.without_trade(database))) == 1


def of(placed: PlacedOrder, found: set[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.user_id == placed.user_id]
