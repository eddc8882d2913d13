"""The books of a new day: what was realised is cash by a balanced movement, what is open is carried."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.day_roll import MarketDay
from domain.orders import PlacedOrder, Product, Side
from domain.time import trade_date
from storage.books import day_roll
from storage.database import Database
from tests.support.trading_floor import TradingFloor

BUY, SELL = Side.BUY, Side.SELL
CASH, DAY_NS = 10_00_000_00, 86_400_000_000_000
DAY = ("buy_quantity", "sell_quantity", "buy_value", "sell_value", "realized_pnl")
Trade = tuple[Side, int, int]


@pytest.fixture
def floor(database: Database, redis: Redis) -> TradingFloor:
    return TradingFloor(database, redis)


async def traded(floor: TradingFloor, user_id: int, *trades: Trade, days_ago: int = 0) -> list[PlacedOrder]:
    """Intraday orders in SBIN, each filled at once at its price."""
    orders = []
    for side, quantity, price in trades:
        placed = await floor.place(user_id, side, "SBIN", quantity, product=Product.MIS, price=price)
        await floor.fill(placed, quantity)
        orders.append(placed)
    await set_back(floor, orders, days_ago)
    return orders


async def set_back(floor: TradingFloor, orders: Sequence[PlacedOrder], days: int) -> None:
    """The exchange says that these were traded so many days ago."""
    async with floor.database.transaction() as conn:
        await conn.execute(
            "UPDATE trades SET traded_at_ns = %s - %s * %s::bigint WHERE order_id = ANY(%s)",
            (time.time_ns(), days, DAY_NS, [placed.order_id for placed in orders]),
        )


async def rolled(floor: TradingFloor, *user_ids: int) -> list[day_roll.Rolled]:
    async with floor.database.transaction() as conn:
        moved = await day_roll.roll(conn, user_ids, trade_date(time.time_ns()))
    for account in moved:
        await floor.view.ensure(account.user_id)
    return moved


async def money(floor: TradingFloor, user_id: int) -> tuple[int, int, int]:
    """Cash, realised, available: the same in the view, and cash what the movements say."""
    ledger, view = await floor.ledger(user_id), await floor.view.account(user_id)
    assert view is not None
    assert (view.cash, view.realized_pnl, view.available, view.generation) == (
        *(ledger[name] for name in ("cash", "realized_pnl", "available_cash", "generation")),
    )
    posted = await floor.rows(
        "SELECT movement, amount, account FROM ledger_postings WHERE account IN (%s, %s)",
        f"cash:{user_id}",
        f"unsettled:{user_id}",
    )
    cash = sum(row["amount"] for row in posted if row["account"] == f"cash:{user_id}")
    assert ledger["cash"] == CASH + cash
    made = await floor.rows(
        "SELECT COALESCE(sum(realized_pnl), 0)::bigint AS made FROM trades"
        " WHERE user_id = %s AND undone_by IS NULL",
        user_id,
    )
    assert made[0]["made"] == cash + ledger["realized_pnl"], "nothing is lost, nothing counted twice"
    (unsettled,) = await floor.rows(
        "SELECT COALESCE(sum(CASE transaction_type WHEN 'BUY' THEN -1 ELSE 1 END * quantity::bigint * price),"
        " 0)::bigint AS owed FROM trades WHERE user_id = %s AND undone_by IS NULL",
        user_id,
    )
    assert sum(row["amount"] for row in posted) == unsettled["owed"]
    return ledger["cash"] - CASH, ledger["realized_pnl"], ledger["available_cash"] - CASH


async def position(floor: TradingFloor, user_id: int) -> dict[str, Any] | None:
    found = await floor.rows("SELECT * FROM positions WHERE user_id = %s", user_id)
    return found[0] if found else None


@pytest.mark.parametrize(("price", "before"), [(990_00, -100_00), (1010_00, 0)])
async def test_what_was_realised_yesterday_is_cash_today_and_no_figure_of_the_day(
    floor: TradingFloor, price: int, before: int
) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, (BUY, 10, 1000_00), (SELL, 10, price), days_ago=1)
    made = 10 * (price - 1000_00)
    assert await money(floor, user_id) == (0, made, before)
    (moved,) = await rolled(floor, user_id)
    assert (moved.user_id, moved.amount) == (user_id, made)
    assert await money(floor, user_id) == (made, 0, made)
    assert await position(floor, user_id) is None
    assert await rolled(floor, user_id) == []
    assert await money(floor, user_id) == (made, 0, made)


@pytest.mark.parametrize(
    ("yesterday", "today", "net", "cost", "figures"),
    [
        # Carried long, part of it sold today; carried short; through zero today; closed today.
        ([(BUY, 10, 1000_00), (SELL, 3, 1100_00)], [], 7, 7000_00, (7, 0, 7000_00, 0, 0)),
        (
            [(BUY, 10, 1000_00), (SELL, 3, 1100_00)],
            [(SELL, 4, 1050_00)],
            3,
            3000_00,
            (7, 4, 7000_00, 4200_00, 200_00),
        ),
        ([(SELL, 10, 1000_00), (BUY, 4, 900_00)], [], -6, -6000_00, (0, 6, 0, 6000_00, 0)),
        ([(SELL, 10, 1000_00)], [(BUY, 15, 900_00)], 5, 4500_00, (15, 10, 13500_00, 10000_00, 1000_00)),
        ([(BUY, 10, 1000_00)], [(SELL, 10, 990_00)], 0, 0, (10, 10, 10000_00, 9900_00, -100_00)),
        ([], [(BUY, 2, 1000_00), (SELL, 1, 1010_00)], 1, 1000_00, (2, 1, 2000_00, 1010_00, 10_00)),
    ],
)
async def test_what_is_open_is_carried_at_its_cost_and_trades_of_today_stay_of_today(
    floor: TradingFloor,
    yesterday: list[Trade],
    today: list[Trade],
    net: int,
    cost: int,
    figures: tuple[int, ...],
) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, *yesterday, days_ago=1)
    await traded(floor, user_id, *today)
    before = await position(floor, user_id)
    assert before is not None
    for _ in range(2):
        await rolled(floor, user_id)
        row = await position(floor, user_id)
        assert row is not None
        assert row["buy_quantity"] - row["sell_quantity"] == net
        assert (row["open_cost"], row["margin"]) == (cost, before["margin"])
        assert tuple(row[name] for name in DAY) == figures
        assert (await money(floor, user_id))[1] == figures[-1]


async def test_rolls_that_race_each_other_and_the_day_s_first_trades_move_everything_once(
    floor: TradingFloor,
) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, (BUY, 10, 1000_00), (SELL, 6, 990_00), days_ago=1)
    placed = [
        await floor.place(user_id, SELL, "SBIN", 1, product=Product.MIS, price=980_00) for _ in range(4)
    ]
    steps = [floor.fill(order, 1) for order in placed]
    answers = await asyncio.gather(*(rolled(floor, user_id) for _ in range(4)), *steps)
    assert sum(moved.amount for found in answers if found for moved in found) == -60_00
    await floor.view.ensure(user_id)
    assert await money(floor, user_id) == (-60_00, -80_00, -140_00)


class Killed(Exception):
    """Before the commit."""


async def test_a_roll_that_dies_before_its_commit_or_before_the_view_is_built_changes_nothing_twice(
    floor: TradingFloor, database: Database
) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, (BUY, 10, 1000_00), (SELL, 10, 990_00), days_ago=1)
    today = trade_date(time.time_ns())
    with pytest.raises(Killed):
        async with database.transaction() as conn:
            await day_roll.roll(conn, [user_id], today)
            raise Killed
    assert await money(floor, user_id) == (0, -100_00, -100_00)
    async with database.transaction() as conn:
        assert len(await day_roll.roll(conn, [user_id], today)) == 1
    # Nobody has built the view anew: the next order finds it void and does.
    await floor.place(user_id, BUY, "SBIN", 1, product=Product.MIS, price=1000_00)
    assert await rolled(floor, user_id) == []
    cash, realised, _ = await money(floor, user_id)
    assert (cash, realised) == (-100_00, 0)


async def test_an_order_blocked_before_the_roll_is_blocked_anew(floor: TradingFloor) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, (BUY, 10, 1000_00), (SELL, 10, 990_00), days_ago=1)
    terms: dict[str, Any] = {"product": Product.CNC, "price": (CASH - 100_00) // 1000}
    first = await floor.place(user_id, BUY, "SBIN", 500, **terms)
    await rolled(floor, user_id)
    await floor.place(user_id, BUY, "SBIN", 500, **terms)
    assert (await money(floor, user_id))[2] == -CASH
    await floor.cancel(first)
    assert (await floor.ledger(user_id))["available_cash"] == (CASH - 100_00) // 2


async def test_a_report_of_yesterday_that_is_booked_after_the_roll_is_moved_by_the_next(
    floor: TradingFloor,
) -> None:
    user_id = await floor.account(CASH)
    await traded(floor, user_id, (BUY, 10, 1000_00), (SELL, 4, 990_00), days_ago=1)
    await rolled(floor, user_id)
    await traded(floor, user_id, (SELL, 6, 980_00), days_ago=1)
    assert await money(floor, user_id) == (-40_00, -120_00, -160_00)
    assert user_id in await day_roll.due(floor.database, trade_date(time.time_ns()))
    await rolled(floor, user_id)
    assert await money(floor, user_id) == (-160_00, 0, -160_00)
    assert await position(floor, user_id) is None


YESTERDAY = [(BUY, 10, 1000_00), (SELL, 14, 1010_00), (BUY, 6, 990_00)]


@pytest.mark.parametrize("number", range(len(YESTERDAY)))
@pytest.mark.parametrize("today", [[], [(SELL, 5, 1005_00)]])
async def test_a_trade_of_yesterday_that_is_taken_back_after_the_roll_comes_to_the_same_as_before_it(
    floor: TradingFloor, number: int, today: list[Trade]
) -> None:
    books = []
    for rolls in (True, False):
        user_id = await floor.account(CASH)
        orders = await traded(floor, user_id, *YESTERDAY, days_ago=1)
        if rolls:
            await rolled(floor, user_id)
        await traded(floor, user_id, *today)
        await floor.bust(orders[number])
        row = await position(floor, user_id) or dict.fromkeys((*DAY, "open_cost", "margin"), 0)
        cash, realised, _ = await money(floor, user_id)
        net = row["buy_quantity"] - row["sell_quantity"]
        books.append((cash + realised, net, row["open_cost"], row["margin"]))
        await rolled(floor, user_id)
        await money(floor, user_id)
    assert books[0] == books[1]


async def test_every_account_that_traded_the_day_before_is_due_and_told_anew_and_others_are_left_alone(
    floor: TradingFloor, database: Database
) -> None:
    quiet, old, buyer, trader = [await floor.account(CASH) for _ in range(4)]
    await traded(floor, old, (BUY, 1, 1000_00), days_ago=3)
    await rolled(floor, old)
    await traded(floor, trader, (BUY, 10, 1000_00), (SELL, 10, 990_00), days_ago=1)
    order = await floor.place(buyer, BUY, "SBIN", 1, product=Product.CNC, price=1000_00)
    await floor.fill(order, 1)
    await set_back(floor, [order], 1)
    before = {user: (await floor.ledger(user))["version"] for user in (quiet, old, buyer, trader)}
    due = await day_roll.due(database, trade_date(time.time_ns()))
    assert {quiet, old, buyer, trader} & set(due) == {buyer, trader}
    said = await ActivityEnvironment().run(MarketDay(database, floor.view).roll_figures)
    assert "begin the day anew" in said
    after = {user: (await floor.ledger(user))["version"] for user in before}
    assert {user for user in before if after[user] > before[user]} == {buyer, trader}
    assert await money(floor, trader) == (-100_00, 0, -100_00)
    again = await ActivityEnvironment().run(MarketDay(database, floor.view).roll_figures)
    assert "profit or loss of 0 became cash" in again
