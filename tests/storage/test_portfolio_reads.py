"""What a portfolio says of the day, what it carries over, and that its version orders its states."""

import time
from typing import Any

import pytest

from bus.portfolio_frames import Version
from domain.orders import Product, Side
from storage.books import queries
from storage.database import Database
from tests.support.books import an_account, book

BUY, SELL = Side.BUY, Side.SELL


async def read(database: Database, user_id: int) -> Any:
    return await queries.read(database, user_id, time.time_ns())


@pytest.mark.parametrize("product", [Product.MIS, Product.NRML])
async def test_the_next_day_begins_with_what_is_open_and_nothing_bought_sold_or_realised(
    database: Database, product: Product
) -> None:
    user = await an_account(database)
    await book(database, user, product, BUY, 10, 100_00, days_ago=1)
    await book(database, user, product, SELL, 3, 120_00, days_ago=1)
    (carried,) = (await read(database, user))["positions"]
    day = ("buy_quantity", "sell_quantity", "buy_value", "sell_value", "realized_pnl")
    assert (carried["net_quantity"], carried["cost"]) == (7, 700_00)
    assert [carried[name] for name in day] == [0] * 5
    await book(database, user, product, SELL, 4, 110_00)
    (open_still,) = (await read(database, user))["positions"]
    assert (open_still["net_quantity"], open_still["cost"]) == (3, 300_00)
    assert [open_still[name] for name in day] == [0, 4, 0, 440_00, 40_00]


async def test_a_position_closed_today_is_listed_and_one_closed_before_is_gone_until_it_is_reopened(
    database: Database,
) -> None:
    user = await an_account(database)
    await book(database, user, Product.MIS, BUY, 10, 100_00)
    await book(database, user, Product.MIS, SELL, 10, 120_00)
    (closed,) = (await read(database, user))["positions"]
    assert (closed["net_quantity"], closed["cost"], closed["realized_pnl"]) == (0, 0, 200_00)
    other = await an_account(database)
    await book(database, other, Product.MIS, BUY, 10, 100_00, days_ago=1)
    await book(database, other, Product.MIS, SELL, 10, 120_00, days_ago=1)
    assert (await read(database, other))["positions"] == []
    await book(database, other, Product.MIS, BUY, 10, 130_00)
    (reopened,) = (await read(database, other))["positions"]
    assert (reopened["net_quantity"], reopened["cost"], reopened["realized_pnl"]) == (10, 1300_00, 0)


async def test_a_holding_sold_out_today_is_listed_with_what_it_made_and_tomorrow_gone(
    database: Database,
) -> None:
    user = await an_account(database)
    await book(database, user, Product.CNC, BUY, 10, 100_00, days_ago=1)
    await book(database, user, Product.CNC, SELL, 4, 110_00)
    (held,) = (await read(database, user))["holdings"]
    assert (held["quantity"], held["cost"], held["realized_pnl"]) == (6, 600_00, 40_00)
    await book(database, user, Product.CNC, SELL, 6, 90_00)
    (sold,) = (await read(database, user))["holdings"]
    assert (sold["quantity"], sold["cost"], sold["realized_pnl"]) == (0, 0, -20_00)
    tomorrow = time.time_ns() + 86_400_000_000_000
    later = await queries.read(database, user, tomorrow)
    assert later is not None and later["holdings"] == []


async def test_what_the_exchange_took_back_is_not_of_the_day(database: Database) -> None:
    user = await an_account(database)
    await book(database, user, Product.MIS, BUY, 10, 100_00)
    await book(database, user, Product.MIS, SELL, 4, 110_00)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE trades SET undone_by = 'H1' WHERE user_id = %s AND transaction_type = 'SELL'", (user,)
        )
    (position,) = (await read(database, user))["positions"]
    assert (position["buy_quantity"], position["sell_quantity"], position["realized_pnl"]) == (10, 0, 0)


async def test_only_newer_versions_are_read_and_every_booking_makes_one(database: Database) -> None:
    user, other = await an_account(database), await an_account(database)
    first = await read(database, user)
    assert (first["holdings"], first["positions"]) == ([], [])
    known = [Version(user, first["version"]), Version(other, -1)]
    assert [row["user_id"] for row in await queries.later(database, known, time.time_ns())] == [other]
    await book(database, user, Product.MIS, SELL, 5, 100_00)
    (row,) = await queries.later(database, known[:1], time.time_ns())
    assert row["version"] > first["version"]
    assert await queries.later(database, [Version(user, row["version"])], time.time_ns()) == []
    assert await queries.later(database, [], time.time_ns()) == []


async def test_nobody_without_an_account_has_a_portfolio(database: Database) -> None:
    assert await queries.read(database, 987_654_321, time.time_ns()) is None
