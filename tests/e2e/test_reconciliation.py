"""Reports, holds and trades beside the exchange, as a person sees them: on the running market."""

import asyncio
import signal
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from exchange.simulator.control import ask
from storage.database import open_database
from tests.e2e.test_demo import hundi
from tests.support.clients import Client
from tests.support.desk import alerted
from tests.support.eventually import eventually
from tests.support.market import Market


@pytest.fixture
def client(market: Market) -> Iterator[Client]:
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        signed_in = Client("DEMO0047", http)
        signed_in.sign_in()
        yield signed_in


async def test_a_report_that_nobody_books_is_a_row_and_an_alert_until_it_is_booked(
    market: Market, client: Client
) -> None:
    request = client.place(instrument_id="NSE:TCS", quantity=3)
    await eventually(lambda: client.status(request) == "EXECUTED", within=20)
    trades = [entry for entry in client.order(request)["history"] if "last_price" in entry]
    worker, operations = market.process("order-worker-0"), market.process("operations")

    async def row() -> str:
        shown = await asyncio.to_thread(hundi, market, "status")
        assert shown.returncode == 0, shown.stderr
        return next(line for line in shown.stdout.splitlines() if "reports" in line)

    async def booked() -> bool:
        return "booked" in (shown := await row()) and "unbooked" not in shown

    # An order is EXECUTED before its trades are booked, as they are before a portfolio is shown.
    client.http.get("/api/v1/portfolio/positions").raise_for_status()
    for one in (worker, operations):
        one.signal(signal.SIGSTOP)
    try:
        for trade in trades:
            ask(market.settings.data_dir, "NSE", verb="bust", exec_id=trade["exec_id"])
        began = time.monotonic()

        async def late() -> bool:
            return f"{len(trades)} unbooked for" in await row()

        await eventually(late, within=30)
        assert time.monotonic() - began > 5
        operations.signal(signal.SIGCONT)
        async with open_database(market.settings.postgres_dsn, size=1) as database:

            async def told() -> bool:
                return await alerted(database, user_id(market, client)) == ["REPORT_UNBOOKED"]

            await eventually(told, within=20)

        # Whoever should have done it: the operations worker does.
        await eventually(booked, within=30)
    finally:
        for one in (worker, operations):
            one.signal(signal.SIGCONT)


async def test_the_day_s_trades_agree_with_the_exchange_s_file_and_a_lost_one_is_named(
    market: Market, client: Client
) -> None:
    request = client.place(instrument_id="NSE:TCS", quantity=2)
    await eventually(lambda: client.status(request) == "EXECUTED", within=20)

    async def alike() -> bool:
        shown = await asyncio.to_thread(hundi, market, "reconcile")
        return shown.returncode == 0 and shown.stdout.count("they are alike.") == 2

    await eventually(alike, within=20)
    with psycopg.connect(market.settings.postgres_dsn, autocommit=True) as conn:
        conn.execute("UPDATE trades SET price = price + 5 WHERE order_id = %s", (request.order_id,))
        shown = await asyncio.to_thread(hundi, market, "reconcile")
        conn.execute("UPDATE trades SET price = price - 5 WHERE order_id = %s", (request.order_id,))
    assert shown.returncode == 1
    assert f"order {request.order_id} in the exchange's file and BUY" in shown.stdout


def user_id(market: Market, client: Client) -> int:
    with psycopg.connect(market.settings.postgres_dsn) as conn:
        row = conn.execute("SELECT user_id FROM users WHERE client_id = %s", (client.client_id,)).fetchone()
    assert row is not None
    return int(row[0])
