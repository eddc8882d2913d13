"""Busts and corrections in the books: once each, whenever they come, in agreement with the exchange."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from bus import wakeups
from config.settings import Settings
from domain.orders import PlacedOrder, Product, Side
from domain.reports import ExecType, ExecutionReport
from storage.database import Database
from tests.support.brokerage import Brokerage, Killed, brokerage
from tests.support.evidence import collect
from tests.support.invariants import broken

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


async def traded(broker: Brokerage, product: Product, *quantities: int) -> tuple[PlacedOrder, PlacedOrder]:
    """A purchase and sales of these quantities to it, each a trade; the purchase and the last sale."""
    buyer, seller = await broker.client(CASH, 0), await broker.client(CASH, 100)
    bought = await broker.place(buyer, quantity=sum(quantities), price=PRICE, product=product)
    for quantity in quantities:
        sold = await broker.place(seller, side=Side.SELL, quantity=quantity, price=PRICE, product=product)
    await broker.settle()
    return bought, sold


async def row(broker: Brokerage, table: str, placed: PlacedOrder) -> dict[str, Any]:
    key = "order_id" if table == "orders" else "user_id"
    [found] = await rows(broker, f"SELECT * FROM {table} WHERE {key} = %s", getattr(placed, key))
    return found


async def rows(broker: Brokerage, query: str, key: int) -> list[dict[str, Any]]:
    async with broker.mortal.reading() as conn:
        return await (await conn.execute(query.encode(), (key,))).fetchall()


async def history(broker: Brokerage, placed: PlacedOrder) -> list[dict[str, Any]]:
    query = "SELECT event, status, detail FROM audit_log WHERE order_id = %s ORDER BY user_seq"
    return await rows(broker, query, placed.order_id)


def trade_of(broker: Brokerage, placed: PlacedOrder) -> str:
    """The ExecID of its last standing trade."""
    return [i for i, r in broker.standing.items() if r.cl_ord_id == str(placed.order_id)][-1]


@pytest.mark.parametrize("product", [Product.CNC, Product.MIS])
async def test_a_bust_leaves_the_books_as_if_nothing_had_traded(
    broker: Brokerage, evidence: Settings, product: Product
) -> None:
    bought, sold = await traded(broker, product, 10)
    broker.bust(trade_of(broker, bought))
    await broker.settle()
    for placed in (bought, sold):
        order = await row(broker, "orders", placed)
        assert (order["status"], order["filled_quantity"]) == ("CANCELLED", 0)
        told = (await history(broker, placed))[-1]
        assert (told["event"], told["status"]) == ("LAST_TRADE_CANCELLED", "CANCELLED")
        assert told["detail"]["last_quantity"] == 10 and told["detail"]["reference_exec_id"]
        ledger = await row(broker, "margin_ledger", placed)
        assert (ledger["available_cash"], ledger["used_margin"], ledger["realized_pnl"]) == (CASH, 0, 0)
        assert await broker.view.account(placed.user_id) is not None, "the view is built anew at once"
    assert (await row(broker, "holdings", bought))["quantity"] == 0
    assert (await row(broker, "holdings", sold))["quantity"] == 100
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_correction_gives_the_trade_its_price_and_the_order_its_average(
    broker: Brokerage, evidence: Settings
) -> None:
    bought, _ = await traded(broker, Product.CNC, 4, 6)
    broker.correct(trade_of(broker, bought), 6, 2449_00)
    await broker.settle()
    order = await row(broker, "orders", bought)
    paid = 4 * PRICE + 6 * 2449_00
    assert (order["status"], order["filled_quantity"], order["filled_value"]) == ("EXECUTED", 10, paid)
    assert (await row(broker, "margin_ledger", bought))["used_margin"] == paid
    assert (await row(broker, "holdings", bought))["cost"] == paid
    told = (await history(broker, bought))[-1]
    assert (told["event"], told["detail"]["average_price"]) == ("TRADE_CORRECTED", "2449.40")
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_working_order_loses_a_trade_and_goes_on_with_what_is_open(
    broker: Brokerage, evidence: Settings
) -> None:
    buyer, seller = await broker.client(CASH), await broker.client(CASH, 100)
    bought = await broker.place(buyer, quantity=10, price=PRICE)
    await broker.place(seller, side=Side.SELL, quantity=4, price=PRICE)
    await broker.settle()
    broker.bust(trade_of(broker, bought))
    await broker.settle()
    order = await row(broker, "orders", bought)
    assert (order["status"], order["filled_quantity"], order["taken_back_quantity"]) == ("OPEN", 0, 4)
    assert broken(collect(evidence, broker.requests)) == []
    await broker.change(bought, 9, PRICE)
    await broker.settle()
    assert (await row(broker, "margin_ledger", bought))["blocked_margin"] == 5 * PRICE
    await broker.place(seller, side=Side.SELL, quantity=20, price=PRICE)
    await broker.settle()
    order = await row(broker, "orders", bought)
    assert (order["status"], order["filled_quantity"]) == ("EXECUTED", 5)
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_busted_purchase_whose_shares_are_sold_leaves_them_owed(
    broker: Brokerage, evidence: Settings
) -> None:
    bought, sold = await traded(broker, Product.CNC, 10)
    purchase = trade_of(broker, bought)
    onward = await broker.place(bought.user_id, side=Side.SELL, quantity=10, price=2460_00)
    await broker.place(sold.user_id, quantity=10, price=2460_00)
    await broker.settle()
    broker.bust(purchase)
    await broker.settle()
    holding = await row(broker, "holdings", onward)
    assert (holding["quantity"], holding["cost"]) == (-10, -10 * 2460_00)
    refused = await broker.place(bought.user_id, side=Side.SELL, quantity=1, price=2460_00)
    await broker.settle()
    assert (await row(broker, "orders", refused))["reject_code"] == "HOLDINGS_INSUFFICIENT"
    assert broken(collect(evidence, broker.requests)) == []


async def test_an_order_that_was_to_close_a_busted_position_blocks_margin_to_open_one(
    broker: Brokerage, evidence: Settings
) -> None:
    bought, _ = await traded(broker, Product.MIS, 10)
    await broker.place(bought.user_id, side=Side.SELL, quantity=10, price=2500_00, product=Product.MIS)
    await broker.settle()
    assert (await row(broker, "margin_ledger", bought))["blocked_margin"] == 0
    broker.bust(trade_of(broker, bought))
    await broker.settle()
    ledger = await row(broker, "margin_ledger", bought)
    assert (ledger["used_margin"], ledger["blocked_margin"]) == (0, 10 * 500_00)
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_loss_that_a_busted_trade_had_made_is_given_back(
    broker: Brokerage, evidence: Settings
) -> None:
    bought, sold = await traded(broker, Product.MIS, 10)
    await broker.place(bought.user_id, side=Side.SELL, quantity=10, price=2400_00, product=Product.MIS)
    await broker.place(sold.user_id, quantity=10, price=2400_00, product=Product.MIS)
    await broker.settle()
    assert (await row(broker, "margin_ledger", bought))["realized_pnl"] == -10 * 50_00
    broker.bust(next(i for i, r in broker.standing.items() if r.last_price == 2400_00))
    await broker.settle()
    ledger = await row(broker, "margin_ledger", bought)
    assert (ledger["realized_pnl"], ledger["used_margin"]) == (0, 10 * 490_00)
    assert broken(collect(evidence, broker.requests)) == []


async def spent_on_a_round_trip(broker: Brokerage, cash: int) -> tuple[PlacedOrder, PlacedOrder]:
    """Intraday shares sold at a loss of Rs 500, then a delivery of Rs 2,450; that sale, that delivery."""
    buyer, seller = await broker.client(cash), await broker.client(CASH, 100)
    for side, price in ((Side.BUY, PRICE), (Side.SELL, 2400_00)):
        closed = await broker.place(buyer, side=side, quantity=10, price=price, product=Product.MIS)
        other = Side.SELL if side is Side.BUY else Side.BUY
        await broker.place(seller, side=other, quantity=10, price=price, product=Product.MIS)
        await broker.settle()
    bought = await broker.place(buyer, quantity=1, price=PRICE)
    await broker.place(seller, side=Side.SELL, quantity=1, price=PRICE)
    await broker.settle()
    return closed, bought


async def alerts(broker: Brokerage, placed: PlacedOrder) -> list[dict[str, Any]]:
    query = "SELECT actor, detail FROM audit_log WHERE event = 'RISK_ALERT' AND user_id = %s"
    return await rows(broker, query, placed.user_id)


async def frames(desk: PubSub) -> AsyncIterator[dict[str, Any]]:
    """What the desk has been told so far."""
    while message := await desk.get_message(timeout=0.2):
        if message["type"] == "message":
            yield msgspec.json.decode(message["data"])


async def test_a_bust_that_leaves_its_account_short_is_told_to_the_risk_desk_once(
    broker: Brokerage, redis: Redis
) -> None:
    closed, _ = await spent_on_a_round_trip(broker, 5_000_00)
    sale = trade_of(broker, closed)
    async with redis.pubsub() as desk:
        await desk.subscribe(wakeups.RISK_ALERTS)
        broker.bust(sale)
        await broker.arrive(*broker.line)
        broker.mortal.doomed = True
        with pytest.raises(Killed):
            await broker.book(closed)
        assert await alerts(broker, closed) == [], "nor has the killed worker told anybody"
        await broker.settle()
        told = [frame async for frame in frames(desk)]
    assert (await row(broker, "margin_ledger", closed))["available_cash"] == -2_350_00
    sentence = f"The account is Rs 2350.00 short since the exchange took back or corrected {sale}."
    detail = {"client_id": f"TEST{closed.user_id}", "available_cash": "-2350.00"}
    on_record = {"kind": "MARGIN_SHORTFALL", "sentence": sentence, **detail}
    assert await alerts(broker, closed) == [{"actor": "booking", "detail": on_record}]
    (frame,) = [frame for frame in told if frame["user_id"] == closed.user_id]
    assert frame.items() >= on_record.items()


async def test_a_bust_that_its_account_can_bear_is_no_alert(broker: Brokerage) -> None:
    closed, _ = await spent_on_a_round_trip(broker, 10_000_00)
    broker.bust(trade_of(broker, closed))
    await broker.settle()
    assert (await row(broker, "margin_ledger", closed))["available_cash"] == 2_650_00
    assert await alerts(broker, closed) == []


async def test_only_what_leaves_an_account_shorter_than_it_was_is_told_again(broker: Brokerage) -> None:
    closed, bought = await spent_on_a_round_trip(broker, 5_000_00)
    broker.bust(trade_of(broker, closed))
    await broker.settle()
    for price, short, told in ((2300_00, -2_200_00, 1), (2400_00, -2_300_00, 2)):
        broker.correct(trade_of(broker, bought), 1, price)
        await broker.settle()
        assert (await row(broker, "margin_ledger", closed))["available_cash"] == short
        assert len(await alerts(broker, closed)) == told


@pytest.mark.parametrize("seed", range(6))
async def test_reports_repeated_and_in_any_order_come_to_the_same_books(
    broker: Brokerage, evidence: Settings, seed: int
) -> None:
    """Two fills, one of them corrected and then busted, all told backwards and forwards, some twice."""
    buyer, seller = await broker.client(CASH), await broker.client(CASH, 100)
    bought = await broker.place(buyer, quantity=10, price=PRICE)
    for quantity in (4, 6):
        await broker.place(seller, side=Side.SELL, quantity=quantity, price=PRICE)
    for placed in list(broker.unsubmitted):
        await broker.submit(placed)
    await broker.send()
    broker.correct(trade_of(broker, bought), 5, 2449_00)
    broker.bust(trade_of(broker, bought))
    acknowledged = [a for a in broker.line if _kind(a.report) is ExecType.NEW]
    await broker.arrive(*acknowledged)
    told = broker.line * 2
    random.Random(seed).shuffle(told)
    for start in range(0, len(told), 3):
        await broker.arrive(*told[start : start + 3])
        await broker.book(bought)
    await broker.settle()
    order = await row(broker, "orders", bought)
    assert (order["status"], order["filled_quantity"], order["taken_back_quantity"]) == ("CANCELLED", 4, 6)
    assert broken(collect(evidence, broker.requests)) == []


async def test_a_worker_that_dies_while_it_books_a_bust_has_done_nothing_and_the_next_does_it_once(
    broker: Brokerage, evidence: Settings
) -> None:
    bought, _ = await traded(broker, Product.MIS, 10)
    broker.bust(trade_of(broker, bought))
    await broker.arrive(*broker.line)
    broker.mortal.doomed = True
    with pytest.raises(Killed):
        await broker.book(bought)
    assert (await row(broker, "margin_ledger", bought))["used_margin"] == 10 * 490_00
    await broker.settle()
    await broker.settle()
    assert (await row(broker, "margin_ledger", bought))["used_margin"] == 0
    assert broken(collect(evidence, broker.requests)) == []


def _kind(report: Any) -> ExecType | None:
    return report.exec_type if isinstance(report, ExecutionReport) else None
