"""Orders over HTTP: acknowledged once, read back at once, refused with a reason; never a 500."""

import asyncio
import json
import time
from datetime import time as clock
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from domain.order_rules import OrderRules, SelfTradePolicy
from domain.time import ist_ns, order_id_floor, trade_date
from storage.database import Database
from tests.support.clients import an_order, sign_in


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, "DEMO0007")
    return http


async def test_an_acknowledged_order_is_found_at_once(client: httpx.AsyncClient) -> None:
    placed = await client.post("/api/v1/orders", json=an_order())
    assert placed.status_code == 202
    body = placed.json()
    assert body["status"] == "PENDING_VALIDATION"
    assert len(body["timestamp"]) == len("2025-02-15T09:15:00.123456789Z")
    found = (await client.get(f"/api/v1/orders/{body['order_id']}")).json()
    assert (found["instrument_id"], found["quantity"]) == ("NSE:RELIANCE", 10)
    assert found["history"][0]["event"] == "ACCEPTED"
    listed = (await client.get("/api/v1/orders", params={"limit": 1})).json()
    assert [row["order_id"] for row in listed["orders"]] == [body["order_id"]]


async def test_an_after_market_order_is_listed_until_it_is_final(
    client: httpx.AsyncClient, database: Database
) -> None:
    """It was placed on a day before; it waits, and its margin with it."""
    yesterday = trade_date(time.time_ns()) - timedelta(1)
    order_id = order_id_floor(yesterday) + 999_999_999
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product,"
            " validity, quantity, price, status, idempotency_key, created_at_ns, updated_at_ns)"
            " SELECT %s, user_id, 'NSE:RELIANCE', 'LIMIT', 'BUY', 'CNC', 'DAY', 4, 140430, 'PENDING_OPEN',"
            " gen_random_uuid(), %s, %s FROM users WHERE client_id = 'DEMO0007'",
            (order_id, *[ist_ns(yesterday, clock(18))] * 2),
        )
    try:
        newest = (await client.post("/api/v1/orders", json=an_order())).json()["order_id"]
        for asked in ({}, {"status": "PENDING_OPEN"}, {"cursor": newest}):
            listed = (await client.get("/api/v1/orders", params=asked)).json()["orders"]
            assert listed[-1]["order_id"] == str(order_id), asked
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM orders WHERE order_id = %s", (order_id,))


async def test_a_price_is_exact_however_it_is_written(client: httpx.AsyncClient) -> None:
    instrument = (await client.get("/api/v1/instruments", params={"q": "RELIANCE"})).json()["instruments"][0]
    price = instrument["previous_close"]
    placed = await client.post("/api/v1/orders", json=an_order(order_type="LIMIT", price=price))
    assert placed.status_code == 202, placed.text
    found = (await client.get(f"/api/v1/orders/{placed.json()['order_id']}")).json()
    assert found["price"] == price


async def test_the_same_key_answers_as_the_first_time_and_another_body_is_refused(
    client: httpx.AsyncClient,
) -> None:
    body = an_order()
    answers = await asyncio.gather(*(client.post("/api/v1/orders", json=body) for _ in range(32)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    other = await client.post("/api/v1/orders", json=body | {"quantity": 11})
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert other.json()["order_id"] == answers[0].json()["order_id"]


BAD = {
    "unknown instrument": ({"instrument_id": "NSE:NOSUCH"}, "INSTRUMENT_UNKNOWN"),
    "an index": ({"instrument_id": "NSE:NIFTY 50"}, "INSTRUMENT_NOT_TRADABLE"),
    "unknown index": ({"instrument_id": "NSE:NOSUCH 50"}, "INSTRUMENT_UNKNOWN"),
    "off tick": ({"order_type": "LIMIT", "price": "1000.01"}, "PRICE_NOT_TICK_MULTIPLE"),
    "three decimals": ({"order_type": "LIMIT", "price": "2450.505"}, "FIELD_INVALID"),
    "out of band": ({"order_type": "LIMIT", "price": "100000"}, "PRICE_OUT_OF_BAND"),
    "no price": ({"order_type": "LIMIT"}, "PRICE_REQUIRED"),
    "price on a market order": ({"price": "2450.50"}, "PRICE_NOT_ALLOWED"),
    "negative price": ({"order_type": "LIMIT", "price": -5}, "PRICE_NOT_POSITIVE"),
    "price as boolean": ({"order_type": "LIMIT", "price": True}, "FIELD_INVALID"),
    "price as list": ({"order_type": "LIMIT", "price": [1]}, "FIELD_INVALID"),
    "zero": ({"quantity": 0}, "QUANTITY_NOT_POSITIVE"),
    "negative": ({"quantity": -1}, "QUANTITY_NOT_POSITIVE"),
    "huge": ({"quantity": 10**30}, "FIELD_INVALID"),
    "above freeze": ({"quantity": 2**31 - 1}, "QUANTITY_ABOVE_FREEZE"),
    "fraction": ({"quantity": 1.5}, "FIELD_INVALID"),
    "string quantity": ({"quantity": "10"}, "FIELD_INVALID"),
    "unknown field": ({"colour": "red"}, "FIELD_INVALID"),
    "unknown side": ({"transaction_type": "HOLD"}, "FIELD_INVALID"),
    "bad key": ({"idempotency_key": "1"}, "FIELD_INVALID"),
    "unicode": ({"instrument_id": "NSE:रिलायंस"}, "FIELD_INVALID"),
    "surrogate": ({"tag": "\ud800"}, "FIELD_INVALID"),
    "nul": ({"tag": "a\x00b"}, "FIELD_INVALID"),
    "stop without a trigger": ({"order_type": "SL-M"}, "TRIGGER_PRICE_REQUIRED"),
    "derivatives product": ({"product": "NRML"}, "PRODUCT_NOT_ALLOWED"),
}


@pytest.mark.parametrize(("changes", "code"), BAD.values(), ids=BAD)
async def test_a_bad_order_is_told_what_is_wrong(
    client: httpx.AsyncClient, changes: dict[str, Any], code: str
) -> None:
    answer = await client.post("/api/v1/orders", content=json.dumps(an_order(**changes)))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    codes = [problem["code"], *(failure["code"] for failure in problem["failures"])]
    assert code in codes
    assert len(problem["trace_id"]) == 32
    assert problem["retryable"] is False


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "BODY_NOT_JSON"),
        (b"", 400, "BODY_NOT_JSON"),
        (b'{"price": NaN}', 400, "BODY_NOT_JSON"),
        (b"\xff\xfe\x00", 400, "BODY_NOT_JSON"),
        (b"[" * 15_000, 400, "BODY_NOT_JSON"),
        (b"1" * 10_000, 400, "BODY_NOT_JSON"),
        (b"[]", 422, "FIELD_INVALID"),
        (b"null", 422, "FIELD_INVALID"),
        (b" " * 10_000_000, 413, "BODY_TOO_LARGE"),
    ],
    ids=["broken", "empty", "NaN", "not text", "deep", "long number", "list", "null", "10 MB"],
)
async def test_a_body_that_is_no_order_is_a_problem_document(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await client.post("/api/v1/orders", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(("client_id", "password"), [("DEMO0001", "wrong"), ("NOBODY", "demo")])
async def test_a_wrong_password_and_an_unknown_client_look_alike(
    http: httpx.AsyncClient, client_id: str, password: str
) -> None:
    answer = await http.post("/api/v1/session", json={"client_id": client_id, "password": password})
    assert (answer.status_code, answer.json()["code"]) == (401, "CREDENTIALS_WRONG")


async def test_the_portfolio_of_a_demo_account(client: httpx.AsyncClient) -> None:
    margins = (await client.get("/api/v1/portfolio/margins")).json()
    assert margins["available_cash"] == "1000000.00"
    assert (await client.get("/api/v1/portfolio/positions")).json() == {"positions": []}
    holdings = (await client.get("/api/v1/portfolio/holdings")).json()["holdings"]
    assert all(row["quantity"] > 0 and "." in row["avg_cost"] for row in holdings)
    assert (await client.get("/readyz")).status_code == 200


async def test_an_account_with_as_many_orders_as_it_may_have_is_told_so(
    http: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, whatever it asks for next; a repeat of what was taken is still answered."""
    monkeypatch.setattr(app.state.intake, "rules", lambda _: OrderRules(3, SelfTradePolicy.CANCEL_NEWEST))
    await sign_in(http, "DEMO0048")
    bodies = [an_order() for _ in range(5)]
    answers = await asyncio.gather(*(http.post("/api/v1/orders", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 202, 422, 422]
    for answer in (answer.json() for answer in answers if answer.status_code == 422):
        assert (answer["code"], answer["limit"]) == ("OPEN_ORDERS_LIMIT_REACHED", "3")
        assert answer["retryable"] is True
    (taken, *_) = [n for n, answer in enumerate(answers) if answer.status_code == 202]
    again = await http.post("/api/v1/orders", json=bodies[taken])
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    sliced = an_order(quantity=40_000, auto_slice=True)
    assert (await http.post("/api/v1/orders", json=sliced)).json()["code"] == "OPEN_ORDERS_LIMIT_REACHED"
    tried = (await http.post("/api/v1/orders", params={"dry_run": "true"}, json=an_order())).json()
    assert "OPEN_ORDERS_LIMIT_REACHED" in [failure["code"] for failure in tried["failures"]]
