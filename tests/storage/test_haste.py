"""Clients in haste: what they ask before the books know, and what the exchange does that no book explains.

Each of these is a face of one class: money decided on what was read before its lock, or on books that lag
behind what the client was told.
"""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from domain.margin import Block, BlockOutcome, position_key
from domain.orders import PlacedOrder, Product, Side
from domain.reports import ExecType
from storage.database import Database
from storage.journals import overdue_trades
from storage.journals.inbox_rows import Arrival
from tests.support.brokerage import Brokerage, brokerage
from tests.support.builders import a_report, some_terms
from workflow_api.results import PASSED

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


async def test_what_another_process_books_between_two_looks_counts(
    broker: Brokerage, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await broker.client(10 * PRICE * 20 // 100)
    bought = await at_work(broker, user_id, product=Product.MIS, quantity=10)
    await trade(broker, Side.SELL, 10)
    block = broker.view.block

    async def slow(*asked: Any) -> Block:
        answer = await block(*asked)
        await broker.book(bought)
        return answer

    monkeypatch.setattr(broker.view, "block", slow)
    sale = await broker.place(user_id, side=Side.SELL, product=Product.MIS, quantity=10, price=PRICE)
    assert (await broker.submit(sale)).decision == PASSED


async def test_what_an_order_had_blocked_that_never_was_submitted_can_be_spent_at_once(
    broker: Brokerage,
) -> None:
    user_id = await broker.client(10 * PRICE)
    ended = await broker.place(user_id, quantity=10, price=PRICE)
    key = position_key(broker.listed.instrument_id, Product.CNC)
    assert (await broker.cancel(ended)).decision == PASSED
    # Its story is on its way through the gates, and has not heard of the cancel.
    late = await broker.view.block(user_id, ended.order_id, Side.BUY, key, False, 10, PRICE)
    assert late.outcome is BlockOutcome.BLOCKED
    again = await broker.place(user_id, quantity=10, price=PRICE)
    assert (await broker.submit(again)).decision == PASSED
    assert await blocked(broker, user_id) == 10 * PRICE


async def test_what_is_not_there_is_still_refused(broker: Brokerage) -> None:
    user_id = await broker.client(10 * PRICE, 5)
    await at_work(broker, user_id, quantity=5)
    dear = await broker.place(user_id, quantity=6, price=PRICE)
    assert (await broker.submit(dear)).reject_code == "MARGIN_INSUFFICIENT"
    sale = await broker.place(user_id, side=Side.SELL, quantity=6, price=PRICE + 10)
    assert (await broker.submit(sale)).reject_code == "HOLDINGS_INSUFFICIENT"
    assert await blocked(broker, user_id) == 5 * PRICE


async def odd_fill(broker: Brokerage, placed: PlacedOrder, quantity: int, **facts: Any) -> str:
    """A trade that the exchange tells of an order out of the blue; its ExecID."""
    exec_id = f"{placed.order_id}/odd"
    numbers = {
        "last_quantity": quantity,
        "last_price": PRICE,
        "leaves_quantity": 0,
        "side": placed.terms.side,
    }
    told = {"exec_type": ExecType.TRADE, "symbol": broker.listed.symbol, "quantity": placed.terms.quantity}
    broker.said += 1
    report = a_report(placed.order_id, exec_id=exec_id, **(told | numbers | facts))
    arrival = Arrival(broker.listed.exchange, broker.session, broker.said, report, time.time_ns())
    await broker.arrive(arrival)
    return exec_id


async def alerts(broker: Brokerage, kind: str, **detail: str) -> int:
    """How often the risk desk was told so."""
    found = await row(
        broker,
        "SELECT count(*) AS n FROM audit_log WHERE event = 'RISK_ALERT' AND detail @> %s::jsonb",
        json.dumps({"kind": kind, **detail}),
    )
    return int(found["n"])


async def test_what_trades_beyond_an_order_is_booked_and_the_desk_is_told(broker: Brokerage) -> None:
    user_id = await broker.client(10 * PRICE)
    placed = await at_work(broker, user_id, quantity=10)
    exec_id = await odd_fill(broker, placed, 12, cumulative_quantity=12)
    await broker.book(placed)
    order = await row(
        broker, "SELECT status, filled_quantity FROM orders WHERE order_id = %s", placed.order_id
    )
    held = await row(broker, "SELECT quantity FROM holdings WHERE user_id = %s", user_id)
    ledger = await row(broker, "SELECT available_cash FROM margin_ledger WHERE user_id = %s", user_id)
    assert (order["status"], order["filled_quantity"], held["quantity"]) == ("EXECUTED", 12, 12)
    assert ledger["available_cash"] == -2 * PRICE and await blocked(broker, user_id) == 0
    assert await alerts(broker, "UNEXPLAINED_FILL", exec_id=exec_id) == 1
    assert await alerts(broker, "MARGIN_SHORTFALL", client_id=f"TEST{user_id}") == 1


async def test_what_trades_after_the_end_is_booked_also_from_shares_that_are_not_there(
    broker: Brokerage,
) -> None:
    user_id = await broker.client(CASH, 10)
    placed = await at_work(broker, user_id, side=Side.SELL, quantity=10, price=PRICE + 100)
    assert (await broker.cancel(placed)).decision == PASSED
    await heard(broker)
    await broker.book(placed)
    other = await at_work(broker, user_id, side=Side.SELL, quantity=8, price=PRICE + 200)
    exec_id = await odd_fill(broker, placed, 10, cumulative_quantity=10)
    await broker.book(placed)
    order = await row(
        broker, "SELECT status, filled_quantity FROM orders WHERE order_id = %s", placed.order_id
    )
    assert (order["status"], order["filled_quantity"]) == ("CANCELLED", 10)
    held = await row(broker, "SELECT quantity, blocked_quantity FROM holdings WHERE user_id = %s", user_id)
    assert (held["quantity"], held["blocked_quantity"]) == (0, 8), "the other sale is at work all the same"
    await trade(broker, Side.BUY, 8, PRICE + 200)
    await broker.book(other)
    held = await row(broker, "SELECT quantity, blocked_quantity FROM holdings WHERE user_id = %s", user_id)
    assert (held["quantity"], held["blocked_quantity"]) == (-8, 0)
    assert await alerts(broker, "UNEXPLAINED_FILL", exec_id=exec_id) == 1


async def test_a_trade_of_no_order_of_ours_is_the_house_s_until_it_is_allocated(broker: Brokerage) -> None:
    unknown = PlacedOrder(991231999999999, 1, 1, 1, some_terms(quantity=5), "", "test")
    for _ in range(2):
        exec_id = await odd_fill(broker, unknown, 5, cumulative_quantity=5)
    movement = f"trade:{broker.listed.exchange}:{exec_id}"
    posted = await row(
        broker,
        "SELECT jsonb_object_agg(account, amount) AS amounts FROM ledger_postings WHERE movement = %s",
        movement,
    )
    exchange = broker.listed.exchange
    assert posted["amounts"] == {f"error:{exchange}": -5 * PRICE, f"clearing:{exchange}": 5 * PRICE}
    assert await alerts(broker, "UNKNOWN_ORDER_TRADED", exec_id=exec_id) == 1


async def test_a_sale_that_trades_above_its_limit_is_margined_at_its_price(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    placed = await at_work(broker, user_id, side=Side.SELL, product=Product.MIS, quantity=10, price=PRICE)
    await odd_fill(broker, placed, 10, cumulative_quantity=10, last_price=PRICE + 100)
    await broker.book(placed)
    ledger = await row(broker, "SELECT used_margin FROM margin_ledger WHERE user_id = %s", user_id)
    view = await broker.view.account(user_id)
    assert view is not None and view.used == ledger["used_margin"] == 10 * (PRICE + 100) * 20 // 100


async def test_a_trade_whose_missing_reports_never_come_is_booked_all_the_same(broker: Brokerage) -> None:
    user_id = await broker.client(CASH)
    placed = await at_work(broker, user_id, quantity=10)
    exec_id = await odd_fill(broker, placed, 4, cumulative_quantity=7, leaves_quantity=3)
    assert await overdue(broker, user_id, time.time_ns() - 10**12) == 0, "it may still be explained"
    assert await overdue(broker, user_id, time.time_ns()) == 1
    assert await overdue(broker, user_id, time.time_ns()) == 0
    await broker.book(placed)
    assert await held(broker, user_id) == 4 and await blocked(broker, user_id) == 6 * PRICE
    assert await alerts(broker, "TRADE_BELIEVED", exec_id=exec_id) == 1


async def overdue(broker: Brokerage, user_id: int, received_before_ns: int) -> int:
    """What the user hears of trades that were believed."""
    async with broker.mortal.transaction() as conn:
        believed = await overdue_trades.take_in(conn, received_before_ns, time.time_ns())
    return len([update for update in believed.updates if update.user_id == user_id])


async def held(broker: Brokerage, user_id: int) -> int:
    """Shares in the books."""
    query = "SELECT COALESCE(sum(quantity), 0)::int AS shares FROM holdings WHERE user_id = %s"
    return int((await row(broker, query, user_id))["shares"])
