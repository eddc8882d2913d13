"""An act that cannot be put on record does not happen: the record refuses what comes from one device."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from config.settings import Settings
from storage.database import Database
from tests.support.clients import an_order, sign_in

ORDERS, RISK = "/api/v1/orders", "/api/v1/risk"
DEVICE = "unrecordable"
CLIENT = "DEMO0069"
SUBJECT = {"scope": "instrument", "id": "BSE:INFY", "reason": "a test"}
LIMITS = {"exposure_limit": 7, "position_limit": 7, "order_value_limit": 7, "reason": "a test"}


@pytest.fixture(autouse=True)
def refusing_record(servers: Settings) -> Iterator[None]:
    with psycopg.connect(servers.postgres_owner_dsn, autocommit=True) as owner:
        owner.execute(
            "CREATE TRIGGER refusing_record BEFORE INSERT ON audit_log FOR EACH ROW"
            f" WHEN (NEW.device = '{DEVICE}') EXECUTE FUNCTION refuse_change()"
        )
        yield
        owner.execute("DROP TRIGGER refusing_record ON audit_log")


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """As a server does: the exception goes on to be seen, the client has its answer before."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
        yield client


async def unrecordable(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"X-Device-Fingerprint": DEVICE}
    answer = await http.request(method, path, json=body, headers=headers)
    assert answer.status_code == 500, answer.text
    return answer


async def count(database: Database, query: str) -> int:
    async with database.reading() as conn:
        row = await (await conn.execute(f"SELECT count(*) AS n FROM {query}".encode())).fetchone()
    assert row is not None
    return int(row["n"])


async def test_nobody_is_signed_in(http: httpx.AsyncClient) -> None:
    body = {"client_id": CLIENT, "password": "demo"}
    answer = await unrecordable(http, "POST", "/api/v1/session", body)
    assert "access_token" not in answer.text


async def test_no_order_is_placed_changed_or_cancelled(http: httpx.AsyncClient, database: Database) -> None:
    await sign_in(http, CLIENT)
    placed = await http.post(ORDERS, json=an_order(order_type="LIMIT", price="1400.00"))
    assert placed.status_code == 202, placed.text
    before, path = (await http.get(ORDERS)).json(), f"{ORDERS}/{placed.json()['order_id']}"
    await unrecordable(http, "POST", ORDERS, an_order())
    await unrecordable(http, "PUT", path, {"quantity": 3})
    await unrecordable(http, "DELETE", path)
    assert (await http.get(ORDERS)).json() == before
    assert not await count(database, f"change_requests WHERE order_id = {placed.json()['order_id']}")


async def test_nothing_is_stopped_released_or_limited(http: httpx.AsyncClient, database: Database) -> None:
    await sign_in(http, "RISK01")
    await unrecordable(http, "POST", f"{RISK}/freeze", SUBJECT)
    assert (await http.get(f"{RISK}/states")).json()["states"] == []
    assert (await http.post(f"{RISK}/freeze", json=SUBJECT)).status_code == 200
    try:
        await unrecordable(http, "POST", f"{RISK}/unfreeze", SUBJECT)
        assert [one["state"] for one in (await http.get(f"{RISK}/states")).json()["states"]] == ["HALTED"]
    finally:
        await http.post(f"{RISK}/unfreeze", json=SUBJECT)
    limits = "risk_limits JOIN users USING (user_id) WHERE client_id = 'DEMO0069'"
    await unrecordable(http, "PUT", f"{RISK}/limits/{CLIENT}", LIMITS)
    assert not await count(database, limits)
