"""The exchange's trade file beside our trades: what is missing, too much or not alike is found."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.trade_comparison import TradeFiles, TradeFileUnusable, compare_day
from domain.orders import OrderType, Side
from domain.time import NANOS, trade_date
from domain.trade_comparison import TradeComparison, TradeLeg, compare
from exchange.files.trade_file import trade_file_paths
from storage.database import Database
from tests.support.brokerage import Brokerage, brokerage

CASH = 100_000_000_00
PRICE = 2450_00
A_LEG = TradeLeg("T1B", "261201000001001", "DEMO0001", "RELIANCE", Side.BUY, 10, PRICE)
DAY = date(2026, 12, 1)


@dataclass
class Day:
    """Two trades of one client with another, one corrected and one taken back, all booked."""

    broker: Brokerage
    folder: Path
    users: list[int]

    @property
    def exchange(self) -> str:
        return self.broker.listed.exchange

    @property
    def path(self) -> Path:
        (path,) = trade_file_paths(self.folder, self.exchange)
        return path

    @property
    def date(self) -> date:
        return trade_date(self.broker.exchange.now_ns)

    async def compared(self) -> TradeComparison:
        return await compare_day(self.broker.mortal, self.folder, self.exchange, self.date)

    async def execute(self, query: str) -> None:
        async with self.broker.mortal.transaction() as conn:
            await conn.execute(query.encode(), {"exchange": self.exchange})


@pytest.fixture
async def day(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Day]:
    async with brokerage(database, redis, tmp_path) as broker:
        users = [await broker.client(CASH, 100) for _ in range(2)]
        for quantity in (10, 20, 30):
            for user_id, side in zip(users, Side, strict=True):
                terms = {"order_type": OrderType.LIMIT, "price": PRICE, "quantity": quantity}
                await broker.place(user_id, side=side, **terms)
        await broker.settle()
        first, _, second, *_ = sorted(broker.standing)
        broker.correct(first, broker.standing[first].last_quantity // 2, PRICE - 100)
        broker.bust(second)
        await broker.settle()
        yield Day(broker, tmp_path, users)


def test_legs_are_compared_by_exec_id_in_every_particular() -> None:
    assert compare("NSE", DAY, [A_LEG], [A_LEG]).differences == []
    back = replace(A_LEG, quantity=-10)
    assert compare("NSE", DAY, [A_LEG, back], [back, A_LEG]).differences == []
    for other in (
        replace(A_LEG, quantity=9),
        replace(A_LEG, price=PRICE + 5),
        replace(A_LEG, side=Side.SELL),
        replace(A_LEG, client_id="DEMO0002"),
        replace(A_LEG, order_id="261201000001002"),
        replace(A_LEG, symbol="TCS"),
    ):
        (difference,) = compare("NSE", DAY, [A_LEG], [other]).differences
        assert str(A_LEG) in difference and str(other) in difference
    assert len(compare("NSE", DAY, [A_LEG, A_LEG], [A_LEG]).differences) == 1
    (missing,) = compare("NSE", DAY, [A_LEG], []).differences
    assert "is not in our books" in missing
    (too_many,) = compare("NSE", DAY, [], [back]).differences
    assert "is not in the exchange's file" in too_many


async def test_a_day_with_a_bust_and_a_correction_is_alike(day: Day) -> None:
    compared = await day.compared()
    assert compared.differences == []
    # Two sides each: three trades, a bust's leg, a correction's two.
    assert compared.filed == compared.booked == 2 * (3 + 1 + 2)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        ("DELETE FROM trades WHERE exec_id = {victim}", "is not in our books"),
        (
            "INSERT INTO trades SELECT exchange, 'T9', order_id, user_id, instrument_id, transaction_type,"
            " product, quantity, price, 0, exchange_order_id, traded_at_ns, booked_at_ns, 0, 0, NULL"
            " FROM trades WHERE exec_id = {victim}",
            "T9 is not in the exchange's file",
        ),
        (
            "WITH lost AS (DELETE FROM trades WHERE exec_id = {victim} RETURNING *)"
            " INSERT INTO error_trades SELECT exchange, exec_id, order_id::text, exchange_order_id,"
            " 'RELIANCE', transaction_type, quantity, price, traded_at_ns, booked_at_ns FROM lost",
            "for no account",
        ),
        ("UPDATE trades SET quantity = 1 WHERE exec_id = {victim}", "is BUY "),
        ("UPDATE trades SET price = 1 WHERE exec_id = {victim}", "is BUY "),
        ("UPDATE trades SET transaction_type = 'SELL' WHERE exec_id = {victim}", "is BUY "),
        ("UPDATE trades SET user_id = {other} WHERE exec_id = {victim}", "is BUY "),
    ],
)
async def test_a_trade_too_few_too_many_or_not_alike_is_found(day: Day, plant: str, words: str) -> None:
    victim = (
        "(SELECT max(exec_id) FROM trades WHERE exchange = %(exchange)s AND transaction_type = 'BUY'"
        " AND undone_by IS NULL AND quantity = 30)"
    )
    await day.execute(plant.format(victim=victim, other=day.users[1]))
    (difference,) = (await day.compared()).differences
    assert words in difference


async def test_a_torn_row_is_none_yet_and_a_file_of_something_else_is_an_error(day: Day) -> None:
    whole = day.path.read_text()
    day.path.write_text(whole.rstrip("\n")[:-5])
    assert len((await day.compared()).differences) == 1
    day.path.write_text("exec_id,price\nT1,none\n")
    with pytest.raises(TradeFileUnusable, match=day.path.name):
        await day.compared()
    day.path.unlink()
    compared = await day.compared()
    assert len(compared.differences) == compared.booked > 0


async def test_each_close_is_compared_once_and_a_difference_alerted_once(
    database: Database, redis: Redis, day: Day
) -> None:
    files = TradeFiles(database, redis, day.folder, [day.exchange])

    async def reconciled() -> list[str]:
        found: list[str] = await ActivityEnvironment().run(files.compare_trades)
        return found

    async def close(at_ns: int) -> None:
        await day.execute(
            f"UPDATE market_phases SET phase = 'CLOSED', since_ns = {at_ns} WHERE exchange = %(exchange)s"
        )

    assert await reconciled() == [], "the market is open"
    closed_ns = day.broker.exchange.now_ns
    await close(closed_ns)
    (sentence,) = await reconciled()
    assert sentence.endswith("they are alike.")
    assert await reconciled() == [], "once a close"
    await day.execute("DELETE FROM trades WHERE exchange = %(exchange)s AND transaction_type = 'SELL'")
    await close(closed_ns + NANOS)
    (sentence,) = await reconciled()
    assert "are not alike" in sentence
    assert await reconciled() == []
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT count(*) AS alerts FROM audit_log WHERE detail->>'kind' = 'TRADES_DIFFER'"
            " AND detail->>'exchange' = %s",
            (day.exchange,),
        )
        assert await found.fetchone() == {"alerts": 1}
