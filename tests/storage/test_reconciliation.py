"""A planted drift is found, told and mended; what an order on its way explains is none."""

import asyncio
import time

import msgspec
import pytest
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.reconciliation import Reconciled, Reconciliation
from bus import wakeups
from domain.margin import BlockOutcome, position_key
from domain.orders import Product, Side
from storage import reconciliation
from storage.database import Database
from storage.margin.view import MarginView
from tests.support.desk import alerted
from tests.support.eventually import eventually
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users
from tests.support.portfolios import some_portfolios

CASH = 1_000_00


async def an_account(database: Database, redis: Redis) -> int:
    """With a view that agrees with its ledger."""
    (user_id,) = await new_users(database, 1)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, CASH)
        )
    await MarginView(redis, database).rebuild(user_id)
    return user_id


async def plant(redis: Redis, user_id: int, part: str, paise: int) -> None:
    await redis.hincrby(f"margin:{{{user_id}}}", part, paise)


async def reconcile(database: Database, redis: Redis) -> Reconciled:
    portfolios = some_portfolios(database, redis)
    return await ActivityEnvironment().run(Reconciliation(database, redis, portfolios, 20).reconcile)


@pytest.mark.parametrize("part", ["cash", "blocked", "used", "realized_pnl"])
async def test_a_planted_drift_is_told_on_record_and_on_the_desk_s_channel_and_mended(
    database: Database, redis: Redis, part: str
) -> None:
    user_id = await an_account(database, redis)
    await plant(redis, user_id, part, 100_01)
    async with redis.pubsub() as channel:
        await channel.subscribe(wakeups.RISK_ALERTS)
        found = await reconcile(database, redis)
        assert user_id in found.rebuilt
        heard: list[dict[str, object]] = []

        async def told() -> bool:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=0.2)
            if message:
                heard.append(msgspec.json.decode(message["data"]))
            return any(frame["user_id"] == user_id for frame in heard)

        await eventually(told)
    view = await MarginView(redis, database).account(user_id)
    assert view is not None and (view.cash, view.available, view.blocked) == (CASH, CASH, 0)
    assert await alerted(database, user_id) == ["MARGIN_DRIFT"]
    assert user_id not in (await reconcile(database, redis)).rebuilt


async def test_a_small_drift_is_mended_without_an_alert(database: Database, redis: Redis) -> None:
    user_id = await an_account(database, redis)
    await plant(redis, user_id, "cash", -100_00)
    found = await reconcile(database, redis)
    assert user_id in found.rebuilt
    assert await alerted(database, user_id) == []
    assert "rebuilt" in found.sentence


async def test_errors_that_cancel_out_are_errors(database: Database, redis: Redis) -> None:
    user_id = await an_account(database, redis)
    await plant(redis, user_id, "blocked", 500_00)
    await plant(redis, user_id, "used", -500_00)
    found = await reconcile(database, redis)
    assert user_id in found.rebuilt
    assert await alerted(database, user_id) == ["MARGIN_DRIFT"]


async def test_a_block_of_an_order_that_is_not_submitted_yet_is_no_drift(
    database: Database, redis: Redis
) -> None:
    user_id = await an_account(database, redis)
    order_id, book = an_order_id(), MarginView(redis, database)
    async with database.transaction() as conn:
        await acknowledge(conn, user_id, a_new_order(order_id))
        await conn.execute("UPDATE orders SET status = 'PENDING_VALIDATION' WHERE order_id = %s", (order_id,))
    block = await book.block(
        user_id, order_id, Side.BUY, position_key("NSE:SBIN", Product.MIS), True, 5, 100_00
    )
    assert block.outcome is BlockOutcome.BLOCKED
    _, suspects = await reconciliation.accounts(database, redis)
    assert user_id in suspects
    assert await reconciliation.mend(database, redis, user_id) is None
    view = await book.account(user_id)
    assert view is not None and view.generation == block.generation
    await plant(redis, user_id, "blocked", 200_00)
    drift = await reconciliation.mend(database, redis, user_id)
    assert drift is not None and (drift.blocked, drift.available) == (200_00, -200_00)


async def test_blocks_that_come_and_go_meanwhile_are_no_drift(database: Database, redis: Redis) -> None:
    """An account whose margin moves all the time is never rebuilt under its orders."""
    user_id = await an_account(database, redis)
    book, running = MarginView(redis, database), True
    position = position_key("NSE:SBIN", Product.MIS)

    async def trade() -> None:
        while running:
            order_id = an_order_id()
            async with database.transaction() as conn:
                await acknowledge(conn, user_id, a_new_order(order_id))
                await conn.execute(
                    "UPDATE orders SET status = 'PENDING_VALIDATION' WHERE order_id = %s", (order_id,)
                )
            await book.block(user_id, order_id, Side.BUY, position, True, 1, 10_00)

    view = await book.account(user_id)
    trading = asyncio.create_task(trade())
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert await reconciliation.mend(database, redis, user_id) is None
    finally:
        running = False
        await trading
    after = await book.account(user_id)
    assert view is not None and after is not None and after.generation == view.generation


async def test_a_lost_view_is_no_drift_and_books_that_do_not_hold_are_an_alert(
    database: Database, redis: Redis
) -> None:
    user_id = await an_account(database, redis)
    await redis.delete(f"margin:{{{user_id}}}")
    assert user_id not in (await reconcile(database, redis)).rebuilt
    async with database.transaction() as conn:
        await conn.execute("UPDATE margin_ledger SET blocked_margin = 777 WHERE user_id = %s", (user_id,))
    try:
        told = await reconciliation.broken_books(database)
        assert (user_id, "Blocked are Rs 7.77, the holds come to Rs 0.00.") in told
    finally:
        async with database.transaction() as conn:
            await conn.execute("UPDATE margin_ledger SET blocked_margin = 0 WHERE user_id = %s", (user_id,))
    assert user_id not in {user for user, _ in await reconciliation.broken_books(database)}
