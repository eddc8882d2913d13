"""A band that the exchange moves on the running market: refused and taken by it a moment later."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.money import paise, rupees
from exchange.simulator import control
from tests.support.clients import an_order, sign_in
from tests.support.eventually import eventually
from tests.support.market import Market


@pytest.fixture
async def client(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as http:
        await sign_in(http, "DEMO0073")
        yield http


async def flex(market: Market, side: str) -> None:
    answer = await asyncio.to_thread(
        control.ask, market.settings.data_dir, "NSE", verb="flex", symbol="TCS", side=side
    )
    assert "error" not in answer, answer


async def listed(client: httpx.AsyncClient) -> dict[str, Any]:
    found = (await client.get("/api/v1/instruments", params={"q": "NSE:TCS"})).json()["instruments"]
    return next(dict(row) for row in found if row["instrument_id"] == "NSE:TCS")


async def test_a_moved_band_is_the_one_that_orders_meet(market: Market, client: httpx.AsyncClient) -> None:
    before = await listed(client)
    above = rupees(paise(before["upper_band"]) + paise(before["tick_size"]))
    order = an_order(instrument_id="NSE:TCS", order_type="LIMIT", price=above, quantity=1, product="MIS")
    order |= {"transaction_type": "SELL"}
    refused = await client.post("/api/v1/orders", json=order)
    assert (refused.status_code, refused.json()["code"]) == (422, "PRICE_OUT_OF_BAND")
    assert refused.json()["nearest"] == before["upper_band"]
    await flex(market, "BUY")
    try:

        async def moved() -> bool:
            now = await listed(client)
            return paise(now["upper_band"]) > paise(before["upper_band"])

        await eventually(moved)
        placed = await client.post("/api/v1/orders", json=order)
        assert placed.status_code == 202, placed.text
        order_id = placed.json()["order_id"]

        async def resting() -> bool:
            return bool((await client.get(f"/api/v1/orders/{order_id}")).json()["status"] == "OPEN")

        await eventually(resting)
        low = an_order(instrument_id="NSE:TCS", order_type="LIMIT", price=before["lower_band"], quantity=1)
        refused = await client.post("/api/v1/orders", json=low)
        now = await listed(client)
        assert (refused.json()["code"], refused.json()["nearest"]) == (
            "PRICE_OUT_OF_BAND",
            now["lower_band"],
        )
    finally:
        # Back to where it was; what rests above is cancelled by the exchange.
        await flex(market, "SELL")

    async def cancelled() -> bool:
        return bool((await client.get(f"/api/v1/orders/{order_id}")).json()["status"] == "CANCELLED")

    await eventually(cancelled)
