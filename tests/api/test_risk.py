"""The risk desk over HTTP: what it says holds from the answer on, is on record, and is lifted by it alone."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from storage.database import Database
from tests.support.clients import an_order, sign_in, signed_in
from tests.support.desk import lift, lift_everything
from tests.support.eventually import eventually

CLIENT = "DEMO0043"


@pytest.fixture
async def second(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """RISK02."""
    async with signed_in(app, "RISK02") as client:
        yield client


@pytest.fixture
async def desk(app: FastAPI, second: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """RISK01; whatever it froze is lifted after the test."""
    async with signed_in(app, "RISK01") as client:
        yield client
        await lift_everything(client, second)


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, CLIENT)
    return http


async def freeze(desk: httpx.AsyncClient, scope: str, id: str | None, **more: Any) -> httpx.Response:
    body = {"scope": scope, "id": id, "reason": "a test"} | more
    return await desk.post("/api/v1/risk/freeze", json=body)


async def refused(client: httpx.AsyncClient, code: str, **order: Any) -> httpx.Response:
    """Until the API's view has heard of the freeze, an order may still be acknowledged."""

    async def answer() -> httpx.Response | None:
        placed = await client.post("/api/v1/orders", json=an_order(**order))
        return placed if placed.status_code != 202 and placed.json()["code"] == code else None

    found = await eventually(answer)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scope", "id", "code", "status", "retryable"),
    [
        ("user", CLIENT, "USER_FROZEN", 403, False),
        ("instrument", "NSE:RELIANCE", "INSTRUMENT_HALTED", 503, True),
        ("segment", "NSE:CASH", "SEGMENT_HALTED", 503, True),
        ("all", None, "TRADING_HALTED", 503, True),
    ],
)
async def test_what_is_frozen_is_refused_until_it_is_lifted(
    desk: httpx.AsyncClient,
    second: httpx.AsyncClient,
    client: httpx.AsyncClient,
    scope: str,
    id: str | None,
    code: str,
    status: int,
    retryable: bool,
) -> None:
    frozen = await freeze(desk, scope, id)
    assert frozen.status_code == 200, frozen.text
    assert frozen.json()["changed"] is True and frozen.json()["wind_down"] is None
    assert (await freeze(desk, scope, id)).json()["changed"] is False
    answer = await refused(client, code)
    assert (answer.status_code, answer.json()["retryable"]) == (status, retryable)
    [state] = (await desk.get("/api/v1/risk/states")).json()["states"]
    assert (state["scope"], state["id"], state["state"]) == (scope, id or "", "HALTED")
    assert (state["cause"], state["actor"], state["reason"]) == ("DESK", "RISK01", "a test")
    lifted = await lift(desk, second, {"scope": scope, "id": id, "reason": "checked"})
    assert lifted.json()["lifted"] == ["DESK"]

    async def taken() -> bool:
        return (await client.post("/api/v1/orders", json=an_order())).status_code == 202

    await eventually(taken)


async def test_a_reducing_client_is_refused_early_only_what_surely_opens(
    desk: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    await freeze(desk, "user", CLIENT, state="REDUCING")
    answer = await refused(client, "REDUCE_ONLY")
    assert answer.status_code == 403
    for order in (an_order(transaction_type="SELL", quantity=1), an_order(product="MIS", quantity=1)):
        assert (await client.post("/api/v1/orders", json=order)).status_code == 202


async def test_an_order_from_before_the_freeze_is_acknowledged_again(
    desk: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    body = an_order()
    first = await client.post("/api/v1/orders", json=body)
    await freeze(desk, "user", CLIENT)
    await refused(client, "USER_FROZEN")
    again = await client.post("/api/v1/orders", json=body)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    changed = await client.post("/api/v1/orders", json=body | {"quantity": 11})
    assert changed.json()["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_freeze_is_known_although_redis_forgets_everything(
    desk: httpx.AsyncClient, client: httpx.AsyncClient, redis_admin: Redis
) -> None:
    await freeze(desk, "user", CLIENT)
    await redis_admin.flushall()
    await refused(client, "USER_FROZEN")
    await redis_admin.flushall()
    await refused(client, "USER_FROZEN")


async def test_a_client_s_token_of_before_the_freeze_helps_nothing_and_others_trade_on(
    desk: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    await freeze(desk, "user", CLIENT)
    await refused(client, "USER_FROZEN")
    await sign_in(client, "DEMO0044")
    assert (await client.post("/api/v1/orders", json=an_order())).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "user", "id": "NOBODY"}, "id"),
        ({"scope": "user"}, "id"),
        ({"scope": "instrument", "id": "NSE:NOSUCH"}, "id"),
        ({"scope": "segment", "id": "NSE:CURRENCY"}, "id"),
        ({"scope": "all", "id": "NSE:CASH"}, "id"),
        ({"scope": "everything"}, "scope"),
        ({"scope": "all", "reason": "  "}, "reason"),
        ({"scope": "all", "state": "ACTIVE"}, "state"),
        ({"scope": "all", "flatten": "yes"}, "flatten"),
    ],
)
async def test_what_cannot_be_frozen_is_refused_by_its_field(
    desk: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await desk.post("/api/v1/risk/freeze", json={"reason": "a test", **body})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert (await desk.get("/api/v1/risk/states")).json()["states"] == []


async def test_an_account_s_own_limits_stand_beside_the_house_s_and_are_on_record(
    desk: httpx.AsyncClient, database: Database
) -> None:
    own = {"exposure_limit": "250000.50", "position_limit": 75, "order_value_limit": 100000}
    answer = await desk.put("/api/v1/risk/limits/DEMO0045", json=own | {"reason": "a new client"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["exposure_limit"] == "250000.50"
    listed = (await desk.get("/api/v1/risk/limits")).json()["limits"]
    assert listed[0]["client_id"] is None
    assert answer.json() in listed
    unknown = await desk.put("/api/v1/risk/limits/NOBODY", json=own | {"reason": "a new client"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "SUBJECT_UNKNOWN")
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT a.actor, a.detail->>'reason' AS reason FROM audit_log a JOIN users USING (user_id)"
            " WHERE client_id = 'DEMO0045' AND event = 'LIMITS_SET' ORDER BY audit_id DESC LIMIT 1"
        )
        row = await found.fetchone()
    assert row == {"actor": "RISK01", "reason": "a new client"}
