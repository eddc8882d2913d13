"""A refusal of what would have been an act is on record, whoever was refused and why; reading is no act."""

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from storage.database import Database
from tests.support.clients import an_order, sign_in

ORDERS = "/api/v1/orders"
NOBODYS = "991231000000001"
_addresses = itertools.count(1)
Refused = tuple[str | None, str, str, dict[str, Any], int, str]
REFUSED: dict[str, Refused] = {
    "no token": (None, "POST", ORDERS, {"json": an_order()}, 401, "TOKEN_MISSING"),
    "another's token": (
        None,
        "DELETE",
        f"{ORDERS}/{NOBODYS}",
        {"headers": {"Authorization": "Bearer a.b.c"}},
        401,
        "TOKEN_REFUSED",
    ),
    "not the role": ("DEMO0067", "POST", "/api/v1/risk/freeze", {"json": {}}, 403, "ROLE_REQUIRED"),
    "no such order": ("DEMO0067", "DELETE", f"{ORDERS}/{NOBODYS}", {}, 404, "ORDER_UNKNOWN"),
    "not JSON": ("DEMO0067", "POST", ORDERS, {"content": "{"}, 400, "BODY_NOT_JSON"),
    "too much": ("DEMO0067", "POST", ORDERS, {"content": "x" * 20_000}, 413, "BODY_TOO_LARGE"),
    "not its shape": ("DEMO0067", "POST", ORDERS, {"json": {}}, 422, "FIELD_INVALID"),
    "a path of no shape": ("DEMO0067", "DELETE", f"{ORDERS}/x", {}, 422, "FIELD_INVALID"),
    "by a gate": (
        "DEMO0067",
        "POST",
        ORDERS,
        {"json": an_order(quantity=0)},
        422,
        "QUANTITY_NOT_POSITIVE",
    ),
    "nothing of that name": (
        "RISK02",
        "PUT",
        "/api/v1/risk/limits/NOBODY",
        {
            "json": {
                "exposure_limit": 1,
                "position_limit": 1,
                "order_value_limit": 1,
                "reason": "a test",
            }
        },
        422,
        "SUBJECT_UNKNOWN",
    ),
}


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """From an address of its own, on a device of its own."""
    number = next(_addresses)
    transport = httpx.ASGITransport(app=app, client=(f"198.51.100.{number}", 1))
    headers = {"X-Device-Fingerprint": f"device {number}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi", headers=headers) as client:
        yield client


async def on_record(database: Database, answer: httpx.Response) -> list[dict[str, Any]]:
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT event, actor, host(client_ip) AS ip, device, detail FROM audit_log"
            " WHERE split_part(traceparent, '-', 2) = %s",
            (answer.headers["x-trace-id"],),
        )
        return await found.fetchall()


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
async def test_a_refused_act_is_on_record(
    app: FastAPI, http: httpx.AsyncClient, database: Database, refused: Refused
) -> None:
    who, method, path, asked, status, code = refused
    if who is not None:
        await sign_in(http, who)
    answer = await http.request(method, path, **asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    await app.state.refused_requests.write(time.time_ns())
    [row] = await on_record(database, answer)
    assert (row["event"], row["actor"]) == ("REQUEST_REFUSED", who or "stranger")
    assert row["ip"].startswith("198.51.100.") and row["device"].startswith("device ")
    assert (row["detail"]["status"], row["detail"]["code"]) == (status, code)
    assert row["detail"]["request"].startswith(f"{method} /api/v1/")
    assert NOBODYS not in row["detail"]["request"], "the route, whatever is in its path"


async def test_who_signs_in_and_who_only_tries_is_on_record(
    app: FastAPI, http: httpx.AsyncClient, database: Database
) -> None:
    body = {"client_id": "DEMO0068", "password": "demo"}
    good = await http.post("/api/v1/session", json=body)
    [row] = await on_record(database, good)
    assert (row["event"], row["actor"], row["detail"]) == ("SIGNED_IN", "DEMO0068", {"role": "CLIENT"})
    assert row["ip"].startswith("198.51.100.") and row["device"].startswith("device ")
    bad = await http.post("/api/v1/session", json=body | {"password": "guess"})
    await app.state.refused_requests.write(time.time_ns())
    [row] = await on_record(database, bad)
    assert (row["actor"], row["detail"]["client_id"]) == ("stranger", "DEMO0068")
    assert "guess" not in str(row)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ORDERS), ("PATCH", ORDERS), ("POST", "/api/v1/nowhere"), ("GET", "/api/v1/risk/states")],
)
async def test_what_is_no_act_is_not_on_record(
    app: FastAPI, http: httpx.AsyncClient, database: Database, method: str, path: str
) -> None:
    refused = await http.request(method, path)
    assert refused.status_code >= 400
    await app.state.refused_requests.write(time.time_ns())
    assert await on_record(database, refused) == []
