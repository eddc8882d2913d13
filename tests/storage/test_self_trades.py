"""No order of a client trades with another of his, whoever races; and orders of the house come first.

The exchange is the simulator's own, where nobody else trades: whatever trades there, trades with itself.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from config.rules import order_rules
from domain.exchange_terms import ExchangeTerms
from domain.margin import Block, BlockOutcome
from domain.order_rules import SelfTradePolicy
from domain.orders import OrderType, PlacedOrder, Side
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from storage.database import Database
from storage.orders import self_trades
from storage.orders.submissions import SubmissionRequest
from storage.risk import wind_downs
from tests.support.brokerage import Brokerage, brokerage
from tests.support.builders import some_terms
from tests.support.orders import new_users
from workflow_api.results import PASSED, REFUSED, Decision

PRICE, CASH = 2450_00, 100_000_00


@pytest_asyncio.fixture
async def broker(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Brokerage]:
    async with brokerage(database, redis, tmp_path) as opened:
        yield opened


async def offer(broker: Brokerage, user_id: int, side: Side, price: int, quantity: int = 10) -> Decision:
    return await broker.submit(await broker.place(user_id, side=side, price=price, quantity=quantity))


async def heard(broker: Brokerage) -> None:
    while await broker.send() or broker.line:
        await broker.arrive(*broker.line)


def prevented(price: str) -> Refusal:
    return Refusal(RejectCode.SELF_TRADE_PREVENTED, "price", price)


@pytest.mark.parametrize("rests", [False, True], ids=["in the outbox", "at the exchange"])
async def test_the_newest_of_two_that_would_meet_is_refused(broker: Brokerage, rests: bool) -> None:
    user_id = await broker.client(CASH, 10)
    assert (await offer(broker, user_id, Side.SELL, PRICE)).decision == PASSED
    if rests:
        await heard(broker)
    refused = await offer(broker, user_id, Side.BUY, PRICE + 100)
    assert (refused.decision, refused.refusal) == (REFUSED, prevented("2450.00"))
    assert (await offer(broker, user_id, Side.BUY, PRICE - 10)).decision == PASSED
    other = await broker.client(CASH)
    assert (await offer(broker, other, Side.BUY, PRICE, 1)).decision == PASSED, "another client's"
    await heard(broker)
    assert len(broker.standing) == 2, "his trade, both legs"


async def test_of_opposite_orders_at_once_one_leaves(
    broker: Brokerage, database: Database, redis: Redis
) -> None:
    for _ in range(12):
        user_id = await broker.client(CASH, 10)
        pair = [await broker.place(user_id, side=side, price=PRICE, quantity=10) for side in Side]
        random.shuffle(pair)
        answers = await asyncio.gather(*(broker.submit(one) for one in pair))
        assert sorted(answer.decision for answer in answers) == [PASSED, REFUSED]
        await heard(broker)
        for placed in pair:
            await broker.cancel(placed)
        await heard(broker)
    assert not broker.standing


async def test_a_change_of_price_that_would_meet_is_refused_whichever_terms_are_on_their_way(
    broker: Brokerage,
) -> None:
    user_id = await broker.client(CASH, 10)
    bid = await broker.place(user_id, side=Side.BUY, price=2440_00, quantity=10)
    ask = await broker.place(user_id, side=Side.SELL, price=2450_00, quantity=10)
    for placed in (bid, ask):
        assert (await broker.submit(placed)).decision == PASSED
    await heard(broker)
    for placed in (bid, ask):
        await broker.book(placed)
    assert (await broker.change(bid, 10, 2450_00)).refusal == prevented("2450.00")
    assert (await broker.change(ask, 10, 2445_00)).decision == PASSED
    # The exchange has not answered: the sale may be at 2450.00 or at 2445.00.
    assert (await broker.change(bid, 10, 2445_00)).refusal == prevented("2445.00")
    assert (await broker.change(bid, 10, 2444_00)).decision == PASSED
    await heard(broker)
    assert not broker.standing


@pytest.mark.parametrize("seed", range(3))
async def test_a_client_in_haste_never_trades_with_himself(broker: Brokerage, seed: int) -> None:
    rng, user_id = random.Random(seed), await broker.client(10 * CASH, 200)
    mine: list[PlacedOrder] = []
    prices = range(2448_00, 2453_00, 50)
    for _ in range(40):
        step = rng.random()
        if step < 0.5 or not mine:
            sides, at = rng.sample(list(Side), 2), [rng.choice(prices) for _ in range(2)]
            pair = [
                await broker.place(user_id, side=side, price=price, quantity=10)
                for side, price in zip(sides, at, strict=True)
            ]
            mine += pair
            await asyncio.gather(*(broker.submit(one) for one in pair))
        elif step < 0.7:
            await broker.change(rng.choice(mine), 10, rng.choice(prices))
        elif step < 0.8:
            await broker.cancel(rng.choice(mine))
        elif step < 0.9:
            await broker.send()
        else:
            await heard(broker)
    await broker.settle()
    assert not broker.standing


async def test_an_order_of_the_house_is_not_hindered_and_what_it_would_meet_makes_way(
    broker: Brokerage,
) -> None:
    """The client's purchase rests where the house is to sell; another client's purchase behind it trades."""
    user_id = await broker.client(CASH, 10)
    bid = await broker.place(user_id, side=Side.BUY, price=PRICE, quantity=10)
    assert (await broker.submit(bid)).decision == PASSED
    await heard(broker)
    other = await broker.client(CASH)
    assert (await offer(broker, other, Side.BUY, PRICE)).decision == PASSED
    await heard(broker)
    sale = await broker.place(user_id, side=Side.SELL, price=PRICE, quantity=10)
    async with broker.mortal.transaction() as conn:
        key = await wind_downs.house_key(conn, f"a test:{user_id}", user_id, "a test")
        await conn.execute("UPDATE orders SET idempotency_key = %s WHERE order_id = %s", (key, sale.order_id))
    broker.unsubmitted.remove(sale)
    assert (await broker.submit(replace(sale, by_house=True))).decision == PASSED
    await heard(broker)
    assert {report.cl_ord_id for report in broker.standing.values()} >= {str(sale.order_id)}
    assert str(bid.order_id) not in {report.cl_ord_id for report in broker.standing.values()}
    async with broker.mortal.reading() as conn:
        found = await conn.execute("SELECT status FROM orders WHERE order_id = %s", (bid.order_id,))
        assert await found.fetchone() == {"status": "CANCELLED"}


async def test_by_another_policy_both_leave(database: Database) -> None:
    (user_id,) = await new_users(database, 1)
    now = time.time_ns()
    terms = order_rules(trade_date(now))
    allowing = self_trades.SelfTrades(lambda _: replace(terms, self_trade=SelfTradePolicy.ALLOW))
    block = Block(BlockOutcome.BLOCKED, 0, 0, 0, 0, 0)
    for side in Side:
        placed = PlacedOrder(int(side is Side.BUY), user_id, 1, now, some_terms(side=side), "", "")
        asked = SubmissionRequest(placed, block, ExchangeTerms(OrderType.LIMIT, PRICE, PRICE))
        assert allowing.refusal(asked) is None
        allowing.take(asked)
