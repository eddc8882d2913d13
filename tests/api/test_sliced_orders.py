"""Orders above the freeze quantity over HTTP: one parent, its slices, one key."""

import asyncio
from typing import Any

import httpx
import pytest

from storage.database import Database
from tests.support.clients import an_order, sign_in

MORE = {"instrument_id": "NSE:RELIANCE", "quantity": 40_000, "auto_slice": True}
"""Of a freeze quantity of 15,000."""


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, "DEMO0052")
    return http


async def placed(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/api/v1/orders", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def detail(client: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    return dict((await client.get(f"/api/v1/orders/{order_id}")).json())


async def test_the_answer_lists_the_slices_and_each_is_an_order(client: httpx.AsyncClient) -> None:
    told = await placed(client, an_order(**MORE))
    assert (told["status"], len(told["children"])) == ("PENDING_VALIDATION", 3)
    parent = await detail(client, told["order_id"])
    assert (parent["quantity"], parent["filled_quantity"]) == (40_000, 0)
    assert (parent["children"], parent["parent_order_id"]) == (told["children"], None)
    assert [entry["event"] for entry in parent["history"]] == ["ACCEPTED"] * 3
    assert [entry["order_id"] for entry in parent["history"]] == told["children"]
    slices = [await detail(client, order_id) for order_id in told["children"]]
    assert [one["quantity"] for one in slices] == [15_000, 15_000, 10_000]
    assert {one["parent_order_id"] for one in slices} == {told["order_id"]}
    assert [one["children"] for one in slices] == [[], [], []]
    assert slices[0]["history"][0]["parent_order_id"] == told["order_id"]
    listed = (await client.get("/api/v1/orders", params={"limit": 3})).json()["orders"]
    assert [row["order_id"] for row in listed] == told["children"][::-1]


async def test_a_key_makes_one_sliced_order_whoever_races(
    client: httpx.AsyncClient, database: Database
) -> None:
    body = an_order(**MORE)
    answers = await asyncio.gather(*(client.post("/api/v1/orders", json=body) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    told = answers[0].json()
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT count(*) AS orders, count(DISTINCT parent_id) AS parents FROM orders"
            " WHERE parent_id = %s",
            (int(told["order_id"]),),
        )
        assert await found.fetchone() == {"orders": 3, "parents": 1}
    for other in ({"quantity": 40_001}, {"auto_slice": False, "quantity": 15_000}):
        conflict = await client.post("/api/v1/orders", json=body | other)
        assert (conflict.status_code, conflict.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert conflict.json()["order_id"] == told["order_id"]


async def test_what_need_not_be_sliced_is_an_order_like_any_other(client: httpx.AsyncClient) -> None:
    told = await placed(client, an_order(**MORE) | {"quantity": 15_000})
    assert "children" not in told
    assert (await detail(client, told["order_id"]))["parent_order_id"] is None


@pytest.mark.parametrize(
    ("changes", "code", "nearest"),
    [
        ({"auto_slice": False}, "QUANTITY_ABOVE_FREEZE", "15000"),
        ({"quantity": 300_001}, "TOO_MANY_SLICES", "300000"),
    ],
)
async def test_without_the_client_s_word_or_with_too_many_slices_it_is_refused(
    client: httpx.AsyncClient, changes: dict[str, Any], code: str, nearest: str
) -> None:
    refused = await client.post("/api/v1/orders", json=an_order(**MORE) | changes)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert refused.json()["nearest"] == nearest


async def test_the_parent_is_nobody_else_s_and_is_not_changed(client: httpx.AsyncClient) -> None:
    told = await placed(client, an_order(**MORE))
    changed = await client.put(f"/api/v1/orders/{told['order_id']}", json={"quantity": 41_000})
    assert (changed.status_code, changed.json()["code"]) == (409, "ORDER_IS_SLICED")
    await sign_in(client, "DEMO0053")
    for asked in (client.get, client.delete):
        assert (await asked(f"/api/v1/orders/{told['order_id']}")).status_code == 404


async def test_a_dry_run_tells_the_slices(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/orders", params={"dry_run": "true"}, json=an_order(**MORE))
    assert answer.json()["slices"] == [15_000, 15_000, 10_000]
    assert "QUANTITY_ABOVE_FREEZE" not in answer.text
