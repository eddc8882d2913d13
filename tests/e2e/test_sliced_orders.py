"""A sliced order on the running market: its slices rest, trade and are cancelled together."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.money import paise, rupees
from tests.support.clients import an_order, sign_in
from tests.support.eventually import eventually
from tests.support.market import Market

FUND = "NSE:PHARMABEES"
"""So cheap that a demo account can order more than its freeze quantity of 1,00,000."""


@pytest.fixture
async def client(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as http:
        await sign_in(http, "DEMO0077")
        yield http


async def detail(client: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    return dict((await client.get(f"/api/v1/orders/{order_id}")).json())


async def reached(client: httpx.AsyncClient, order_id: str, status: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        order = await detail(client, order_id)
        return order if order["status"] == status else None

    order: dict[str, Any] | None = await eventually(there, within=30)
    assert order is not None
    return order


async def blocked(client: httpx.AsyncClient) -> int:
    return paise((await client.get("/api/v1/portfolio/margins")).json()["blocked_margin"])


async def placed(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    body = an_order(instrument_id=FUND, order_type="LIMIT", auto_slice=True, **changes)
    answer = await client.post("/api/v1/orders", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_slices_rest_together_and_the_parent_s_cancel_takes_them_back(
    client: httpx.AsyncClient,
) -> None:
    found = (await client.get("/api/v1/instruments", params={"q": FUND})).json()["instruments"]
    low = found[0]["lower_band"]
    before = await blocked(client)
    told = await placed(client, price=low, quantity=150_000, product="MIS")
    order = await reached(client, told["order_id"], "OPEN")
    assert order["quantity"] == 150_000
    slices = [await reached(client, order_id, "OPEN") for order_id in told["children"]]
    assert [one["quantity"] for one in slices] == [100_000, 50_000]
    whole = 150_000 * -(-paise(low) // 5)
    assert await blocked(client) - before == whole
    dry = an_order(instrument_id=FUND, order_type="LIMIT", price=low, quantity=150_000, product="MIS")
    trial = await client.post("/api/v1/orders", params={"dry_run": "true"}, json=dry | {"auto_slice": True})
    assert trial.json()["blocked_margin"] == rupees(whole)
    # One slice is cancelled by itself, the parent's cancel takes the other.
    assert (await client.delete(f"/api/v1/orders/{told['children'][1]}")).status_code == 202
    await reached(client, told["children"][1], "CANCELLED")
    assert (await detail(client, told["order_id"]))["status"] == "OPEN"
    assert (await client.delete(f"/api/v1/orders/{told['order_id']}")).status_code == 202
    await reached(client, told["order_id"], "CANCELLED")

    async def given_back() -> bool:
        return await blocked(client) == before

    await eventually(given_back)
    again = await client.delete(f"/api/v1/orders/{told['order_id']}")
    assert (again.status_code, again.json()["code"]) == (409, "ORDER_ALREADY_FINAL")


async def test_what_the_margin_does_not_cover_whole_is_refused_whole(client: httpx.AsyncClient) -> None:
    """The second slice alone would be covered."""
    found = (await client.get("/api/v1/instruments", params={"q": FUND})).json()["instruments"]
    before = await blocked(client)
    told = await placed(client, price=found[0]["lower_band"], quantity=120_000)
    order = await reached(client, told["order_id"], "REJECTED")
    assert order["reject_code"] == "MARGIN_INSUFFICIENT"
    slices = [await detail(client, order_id) for order_id in told["children"]]
    assert [one["reject_code"] for one in slices] == ["MARGIN_INSUFFICIENT"] * 2
    assert await blocked(client) == before
