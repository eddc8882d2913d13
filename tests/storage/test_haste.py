"""Clients in haste: what they ask before the books know, and what the exchange does that no book explains.

Each of these is a face of one class: money decided on what was read before its lock, or on books that lag
behind what the client was told.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from activities.decision import PASSED
from domain.margin import position_key
from domain.orders import PlacedOrder, Product, Side
from storage.database import Database
from tests.support.brokerage import Brokerage, brokerage

PRICE = 2450_00
CASH = 100_000_00


@pytest_asyncio.fixture
async def broker(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[Brokerage]:
    async with brokerage(database, redis, tmp_path) as opened:
        yield opened


async def at_work(broker: Brokerage, user_id: int, **terms: Any) -> PlacedOrder:
    """An order in the exchange's book, acknowledged and booked."""
    placed = await broker.place(user_id, **({"price": PRICE} | terms))
    assert (await broker.submit(placed)).decision == PASSED
    await heard(broker)
    await broker.book(placed)
    return placed


async def heard(broker: Brokerage) -> None:
    """What is owed has left, and what the exchange has said is journaled; nothing is booked."""
    while await broker.send() or broker.line:
        await broker.arrive(*broker.line)


async def trade(broker: Brokerage, side: Side, quantity: int, price: int = PRICE) -> None:
    """Another client meets what rests on the other side; the fills are journaled."""
    other = await broker.client(CASH, quantity)
    await broker.submit(await broker.place(other, side=side, quantity=quantity, price=price))
    await heard(broker)


async def row(broker: Brokerage, query: str, *values: Any) -> dict[str, Any]:
    async with broker.mortal.reading() as conn:
        found = await (await conn.execute(query.encode(), values)).fetchone()
    assert found is not None
    return found


async def blocked(broker: Brokerage, user_id: int) -> int:
    """In the ledger, and the same in the view and in the holds."""
    ledger = await row(
        broker,
        "SELECT blocked_margin, (SELECT COALESCE(sum(open_quantity * unit_margin), 0)::bigint"
        " FROM margin_holds h WHERE h.user_id = l.user_id AND state = 'BLOCKED') AS held"
        " FROM margin_ledger l WHERE user_id = %s",
        user_id,
    )
    view = await broker.view.account(user_id)
    assert view is not None and view.blocked == ledger["held"] == ledger["blocked_margin"]
    return view.blocked


async def test_a_change_counts_the_fills_that_nobody_has_booked_yet(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    placed = await at_work(broker, user_id, quantity=20)
    await trade(broker, Side.SELL, 5)
    assert (await broker.change(placed, 20, PRICE - 100)).decision == PASSED
    assert await blocked(broker, user_id) == 15 * PRICE
    await trade(broker, Side.SELL, 5)
    await heard(broker)
    await broker.book(placed)
    order = await row(
        broker, "SELECT quantity - filled_quantity AS left FROM orders WHERE order_id = %s", placed.order_id
    )
    assert await blocked(broker, user_id) == order["left"] * (PRICE - 100)


async def test_a_second_change_is_decided_on_what_the_first_has_become(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    placed = await at_work(broker, user_id, quantity=20)
    assert (await broker.change(placed, 1, PRICE)).decision == PASSED
    assert (await broker.change(placed, 20, PRICE)).reject_code == "CHANGE_ALREADY_PENDING"
    await heard(broker)
    assert (await broker.change(placed, 20, PRICE)).decision == PASSED, "the answer is journaled, not booked"
    assert await blocked(broker, user_id) == 20 * PRICE
    await heard(broker)
    await broker.book(placed)
    assert await blocked(broker, user_id) == 20 * PRICE
    await trade(broker, Side.SELL, 20)
    await broker.book(placed)
    assert (await row(broker, "SELECT quantity FROM holdings WHERE user_id = %s", user_id))["quantity"] == 20


async def test_an_order_closes_no_more_than_the_ledger_has_to_close(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    intraday: dict[str, Any] = {"product": Product.MIS, "quantity": 10}
    first = await at_work(broker, user_id, side=Side.BUY, **intraday | {"price": PRICE - 100})
    short = await at_work(broker, user_id, side=Side.SELL, **intraday | {"price": PRICE})
    await trade(broker, Side.BUY, 10)
    await broker.book(short)
    key, unit = position_key(broker.listed.instrument_id, Product.MIS), PRICE * 20 // 100
    second = await broker.place(user_id, side=Side.BUY, **intraday | {"price": PRICE - 200})
    early = await broker.view.block(user_id, second.order_id, Side.BUY, key, True, 10, unit - 40)
    assert early.close_quantity == 10, "the account is short, and nobody is to close it yet"
    await trade(broker, Side.SELL, 10, PRICE - 100)
    await broker.book(first)
    assert (await broker.submit(second)).decision == PASSED
    hold = await row(broker, "SELECT * FROM margin_holds WHERE order_id = %s", second.order_id)
    assert (hold["open_quantity"], hold["close_quantity"]) == (10, 0)
    assert await blocked(broker, user_id) == 10 * (unit - 40)


async def test_what_a_client_was_told_he_has_bought_he_can_sell(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    await at_work(broker, user_id, quantity=10)
    await trade(broker, Side.SELL, 10)
    sale = await broker.place(user_id, side=Side.SELL, quantity=10, price=PRICE)
    assert (await broker.submit(sale)).decision == PASSED


async def test_an_intraday_exit_needs_no_margin_before_the_purchase_is_booked(broker: Brokerage) -> None:
    user_id = await broker.client(10 * PRICE * 20 // 100)
    await at_work(broker, user_id, product=Product.MIS, quantity=10)
    await trade(broker, Side.SELL, 10)
    sale = await broker.place(user_id, side=Side.SELL, product=Product.MIS, quantity=10, price=PRICE)
    assert (await broker.submit(sale)).decision == PASSED


async def test_what_a_cancel_has_freed_can_be_spent_and_sold_at_once(broker: Brokerage) -> None:
    user_id = await broker.client(10 * PRICE, 10)
    for terms in ({"side": Side.BUY, "price": PRICE - 100}, {"side": Side.SELL, "price": PRICE + 100}):
        placed = await at_work(broker, user_id, quantity=10, **terms)
        assert (await broker.cancel(placed)).decision == PASSED
        await heard(broker)
        again = await broker.place(user_id, quantity=10, **terms)
        assert (await broker.submit(again)).decision == PASSED
        await heard(broker)
        assert (await broker.cancel(again)).decision == PASSED
        await heard(broker)
    withdrawn = await broker.place(user_id, quantity=10, price=PRICE)
    assert (await broker.submit(withdrawn)).decision == PASSED
    assert (await broker.cancel(withdrawn)).sentence == "Withdrawn before it left."
    again = await broker.place(user_id, quantity=10, price=PRICE)
    assert (await broker.submit(again)).decision == PASSED


async def test_what_is_not_there_is_still_refused(broker: Brokerage) -> None:
    user_id = await broker.client(10 * PRICE, 5)
    await at_work(broker, user_id, quantity=5)
    dear = await broker.place(user_id, quantity=6, price=PRICE)
    assert (await broker.submit(dear)).reject_code == "MARGIN_INSUFFICIENT"
    sale = await broker.place(user_id, side=Side.SELL, quantity=6, price=PRICE)
    assert (await broker.submit(sale)).reject_code == "HOLDINGS_INSUFFICIENT"
    assert await blocked(broker, user_id) == 5 * PRICE
