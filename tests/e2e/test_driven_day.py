"""A trading day played in seconds on the running market: the house's hours are those of that day."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from exchange.simulator import control
from tests.support.clients import an_order, lower_band, sign_in
from tests.support.eventually import eventually
from tests.support.market import Market

PHASE_SECONDS = 2.5


@pytest.fixture
async def client(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as http:
        await sign_in(http, "DEMO0057")
        yield http


async def phase(client: httpx.AsyncClient, session_class: str = "CAS") -> str:
    rows = (await client.get("/api/v1/market/status")).json()["segments"]
    return next(
        str(row["phase"]) for row in rows if (row["exchange"], row["session_class"]) == ("NSE", session_class)
    )


async def reached(client: httpx.AsyncClient, wanted: str) -> None:
    async def there() -> bool:
        return await phase(client) == wanted

    await eventually(there, within=60)


async def net(client: httpx.AsyncClient, product: str, quantity: int) -> bool:
    """Whether the client holds so much of the product."""
    positions = (await client.get("/api/v1/portfolio/positions")).json()["positions"]
    held = (row for row in positions if (row["instrument_id"], row["product"]) == ("NSE:RELIANCE", product))
    return bool(sum(row["net_quantity"] for row in held) == quantity)


async def bought(client: httpx.AsyncClient, quantity: int) -> None:
    assert await eventually(lambda: net(client, "MIS", quantity))


async def orders(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/api/v1/orders", params={"limit": 500})).json()["orders"])


async def place(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post("/api/v1/orders", json=an_order(**({"quantity": 1} | changes)))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


async def order(client: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    return dict((await client.get(f"/api/v1/orders/{order_id}")).json())


async def decided(client: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    async def seen() -> dict[str, Any] | None:
        found = await order(client, order_id)
        return found if found["status"] != "PENDING_VALIDATION" else None

    found: dict[str, Any] | None = await eventually(seen)
    assert found is not None
    return found


async def test_after_market_orders_and_the_square_off_follow_the_played_day(
    market: Market, client: httpx.AsyncClient
) -> None:
    answer = await asyncio.to_thread(
        control.ask, market.settings.data_dir, "NSE", verb="day", phase_seconds=PHASE_SECONDS
    )
    assert "error" not in answer
    await reached(client, "CLOSED")
    # A quarter to nine, whatever the clock says: taken for the pre-open session, and executed in it.
    early = await decided(client, await place(client))
    assert early["status"] == "PENDING_OPEN", early
    assert early["history"][1]["release_phases"][0] == "PRE_OPEN_ENTRY"
    await reached(client, "CONTINUOUS")
    limited = {"order_type": "LIMIT", "price": lower_band(market.api_url, "NSE:RELIANCE")}
    assert (await order(client, early["order_id"]))["status"] == "EXECUTED"
    in_time = await decided(client, await place(client, product="MIS", quantity=10))
    assert in_time["status"] != "REJECTED", in_time
    resting = await decided(client, await place(client, product="MIS", quantity=7, **limited))
    await bought(client, 10)
    await reached(client, "CLOSING_AUCTION")
    # Of another share: the square-off's sale waits in this one's auction, and it would meet that.
    for_delivery = await place(client, instrument_id="NSE:TCS")
    late = await decided(client, await place(client, product="MIS"))
    # By the gate, or by the square-off that finds it pending on its way there.
    if late["status"] == "REJECTED":
        assert late["reject_code"] == "INTRADAY_CLOSED" and "15:00 IST" in late["reject_reason"]
    else:
        assert late["status"] == "CANCELLED" and late["reject_reason"].startswith("Intraday positions")
    delivery = await decided(client, for_delivery)
    assert delivery["status"] != "REJECTED", delivery
    # The square-off closes what is open by the market's time, whatever the clock says, once.
    assert await eventually(lambda: net(client, "MIS", 0), within=20)
    assert (await order(client, resting["order_id"]))["status"] == "CANCELLED"
    closing = [one for one in await orders(client) if one["transaction_type"] == "SELL"]
    assert sum(one["filled_quantity"] for one in closing) == 10
    await reached(client, "POST_CLOSE")
    # An exchange that keeps no hours again takes intraday orders at any.
    await reached(client, "CONTINUOUS")
    assert await net(client, "MIS", 0)
    assert (await decided(client, await place(client, product="MIS")))["status"] != "REJECTED"
