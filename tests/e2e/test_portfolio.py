"""An intraday order in the live portfolio: pushed within a second of its execution, as the GETs have it."""

import time
from functools import partial
from typing import Any

import httpx

from domain.money import paise
from tests.support.clients import an_order, sign_in
from tests.support.eventually import eventually
from tests.support.market import Market
from tests.support.stream import GatewayProcess, SocketIoClient, socket_io

CLIENT = "DEMO0093"


def executed_at(stream: SocketIoClient, order_id: str) -> float:
    """When its update came; 0 before it does."""
    done = [u for u in stream.of("order_update") if (u["order_id"], u["status"]) == (order_id, "EXECUTED")]
    return time.monotonic() if done else 0.0


def open_with(stream: SocketIoClient, net: int) -> list[dict[str, Any]]:
    """The position of so many units, once the newest portfolio has it."""
    return [row for row in stream.of("portfolio")[-1]["positions"] if row["net_quantity"] == net]


async def test_an_executed_order_is_in_the_pushed_portfolio_and_in_the_answer(market: Market) -> None:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as http:
        await sign_in(http, CLIENT)
        token = http.headers["Authorization"].removeprefix("Bearer ")
        async with socket_io(GatewayProcess(market.settings), token) as stream:
            await stream.ask("subscribe_portfolio", {})
            await eventually(lambda: stream.of("portfolio"))
            for side, quantity, net in (("BUY", 7, 7), ("SELL", 4, 3)):
                body = an_order(transaction_type=side, quantity=quantity, product="MIS")
                placed = await http.post("/api/v1/orders", json=body)
                is_heard = partial(executed_at, stream, placed.json()["order_id"])
                executed = await eventually(is_heard, every=0.01)
                pushed = await eventually(partial(open_with, stream, net), every=0.01)
                assert time.monotonic() - executed < 1
            (answered,) = (await http.get("/api/v1/portfolio/positions")).json()["positions"]
            assert pushed == [{name: answered[name] for name in pushed[0]}]
            assert (answered["buy_quantity"], answered["sell_quantity"]) == (7, 4)
            worth = 3 * paise(answered["ltp"]) - paise(answered["cost"])
            assert paise(answered["unrealized_pnl"]) == worth
            margins = (await http.get("/api/v1/portfolio/margins")).json()
            assert stream.of("portfolio")[-1]["margins"] == margins
            assert paise(margins["used_margin"]) == paise(answered["used_margin"]) > 0
