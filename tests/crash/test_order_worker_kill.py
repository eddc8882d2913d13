"""kill -9 of the order worker in the middle of a stream of orders: nothing lost, nothing doubled.

Wherever each order stood (claimed, started, margin blocked, in the outbox, reported and not booked), every
acknowledged one is executed exactly once, and the books agree with the exchange's own file.
"""

import asyncio
from uuid import uuid4

import httpx
import psycopg

from exchange.files.trade_file import read_trade_file, trade_file_paths
from tests.support.eventually import eventually
from tests.support.market import Market

CLIENT = "DEMO0031"
ORDERS = 20


async def test_every_acknowledged_order_is_executed_once_though_its_worker_was_killed(market: Market) -> None:
    worker = market.process("order-worker-0")
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as http:
        answer = await http.post("/api/v1/session", json={"client_id": CLIENT, "password": "demo"})
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        acknowledged = []
        for number in range(ORDERS):
            acknowledged.append(await place(http))
            if number == ORDERS // 2:
                await asyncio.to_thread(worker.kill9)
        await asyncio.to_thread(worker.start)

        async def all_executed() -> bool:
            orders = (await http.get("/api/v1/orders", params={"status": "EXECUTED"})).json()["orders"]
            return {order["order_id"] for order in orders} == set(acknowledged)

        await eventually(all_executed, within=60)

    trades = traded(market, acknowledged)
    assert sorted(cl_ord_id for cl_ord_id, _ in trades) == sorted(acknowledged)
    value = sum(price for _, price in trades)
    await eventually(lambda: margins(market) == (value, 0), within=60)


async def place(http: httpx.AsyncClient) -> str:
    body = {
        "instrument_id": "NSE:TCS",
        "order_type": "MARKET",
        "transaction_type": "BUY",
        "quantity": 1,
        "product": "CNC",
        "idempotency_key": str(uuid4()),
    }
    answer = await http.post("/api/v1/orders", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


def traded(market: Market, order_ids: list[str]) -> list[tuple[str, int]]:
    """ClOrdID and price of each trade of these orders in the exchange's own file."""
    return [
        (leg.order_id, leg.price)
        for path in trade_file_paths(market.settings.data_dir, "NSE")
        for leg in read_trade_file(path)
        if leg.order_id in order_ids
    ]


def margins(market: Market) -> tuple[int, int]:
    """Used and blocked margin in the ledger."""
    with psycopg.connect(market.settings.postgres_dsn) as conn:
        row = conn.execute(
            """SELECT used_margin, blocked_margin FROM margin_ledger JOIN users USING (user_id)
               WHERE client_id = %s""",
            (CLIENT,),
        ).fetchone()
    assert row is not None
    return row[0], row[1]
