"""What strangers, heavy users and staff send: refused by its name, bounded, and never read another way."""

import json
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.requests import INSTRUMENT_ID
from storage.database import Database
from tests.support.clients import an_order, sign_in

ORDERS = "/api/v1/orders"
FREEZE = {"scope": "instrument", "id": "NSE:RELIANCE", "state": "HALTED"}


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, "DEMO0055")
    return http


def assert_problem(answer: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if field is not None:
        assert answer.json()["field"] == field


@pytest.mark.parametrize("field", ["quantity", "idempotency_key", "price"])
async def test_a_member_that_is_there_twice_is_refused(client: httpx.AsyncClient, field: str) -> None:
    """The last one would win silently: which of the two was meant?"""
    body = an_order(order_type="LIMIT", price="1540.00")
    twice = json.dumps(body)[:-1] + f", {json.dumps(field)}: {json.dumps(body[field])}}}"
    assert_problem(await client.post(ORDERS, content=twice), 422, "FIELD_INVALID", field)


async def test_a_member_that_is_there_twice_within_another_is_refused(client: httpx.AsyncClient) -> None:
    body = json.dumps(an_order())[:-1] + ', "tag": {"a": 1, "a": 1}}'
    assert_problem(await client.post(ORDERS, content=body), 422, "FIELD_INVALID", "a")


@pytest.mark.parametrize(
    ("method", "query", "field"),
    [
        ("POST", "dry_run=true&dry_run=false", "dry_run"),
        ("POST", "dry_run=true&dry_run=true", "dry_run"),
        ("GET", "limit=1&limit=2", "limit"),
        ("GET", "status=OPEN&status=EXECUTED", "status"),
    ],
)
async def test_a_parameter_that_is_there_twice_is_refused(
    client: httpx.AsyncClient, method: str, query: str, field: str
) -> None:
    before = (await client.get(ORDERS)).json()
    body = an_order() if method == "POST" else None
    answer = await client.request(method, f"{ORDERS}?{query}", json=body)
    assert_problem(answer, 422, "FIELD_INVALID", field)
    assert (await client.get(ORDERS)).json() == before


@pytest.mark.parametrize("staff", ["RISK01", "SUPPORT01", "COMPLY01"])
async def test_staff_place_and_touch_no_orders(http: httpx.AsyncClient, staff: str) -> None:
    await sign_in(http, "DEMO0055")
    theirs = (await http.post(ORDERS, json=an_order())).json()["order_id"]
    await sign_in(http, staff)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", ORDERS, {"json": an_order()}),
        ("POST", f"{ORDERS}?dry_run=true", {"json": an_order()}),
        ("GET", ORDERS, {}),
        ("GET", f"{ORDERS}/{theirs}", {}),
        ("PUT", f"{ORDERS}/{theirs}", {"json": {"quantity": 5}}),
        ("DELETE", f"{ORDERS}/{theirs}", {}),
    ]
    for method, path, request in asked:
        assert_problem(await http.request(method, path, **request), 403, "ROLE_REQUIRED")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/instruments?q=TCS", 200),
        ("GET", ORDERS, 200),
        ("POST", "/api/v1/session", 400),
        ("GET", "/nowhere", 404),
        ("PATCH", ORDERS, 405),
    ],
)
async def test_no_answer_is_kept_or_taken_for_what_it_is_not(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_refusal_is_bounded_whatever_was_sent(client: httpx.AsyncClient) -> None:
    body = an_order() | {f"x{number}": 1 for number in range(1_500)}
    answer = await client.post(ORDERS, json=body)
    assert_problem(answer, 422, "FIELD_INVALID")
    assert len(answer.json()["failures"]) == 20
    assert len(answer.content) < 4_096
    names = "&".join(f"y{number}=1" for number in range(1_000))
    answer = await client.get(f"{ORDERS}?{names}")
    assert_problem(answer, 422, "FIELD_INVALID")
    assert len(answer.content) < 4_096


@pytest.mark.parametrize("path", [f"{ORDERS}/", "/api/v1/portfolio/holdings/", "/healthz/"])
async def test_a_trailing_slash_is_a_problem_and_no_way_elsewhere(
    client: httpx.AsyncClient, path: str
) -> None:
    for method in ("GET", "POST"):
        answer = await client.request(method, path, headers={"Host": "elsewhere.example"})
        assert_problem(answer, 404, "NOT_FOUND")
        assert "location" not in answer.headers


NOT_TEXT = {
    "NUL": "a\x00b",
    "SOH": "a\x01b",
    "ANSI": "\x1b[31mred",
    "new line": "a\nb",
    "zero width": "a\u200bb",
    "bidi": "a\u202eb",
    "isolate": "a\u2066b",
    "byte order mark": "\ufeffa",
    "line separator": "a\u2028b",
    "surrogate": "a\ud800",
    "private use": "a\ue000",
    "nothing to see": " ",
    "201 characters": "x" * 201,
}


@pytest.mark.parametrize("text", NOT_TEXT.values(), ids=NOT_TEXT)
async def test_a_reason_is_text_that_people_can_read(http: httpx.AsyncClient, text: str) -> None:
    await sign_in(http, "RISK01")
    for path in ("freeze", "unfreeze"):
        asked = json.dumps({**FREEZE, "reason": text})
        if path == "unfreeze":
            asked = json.dumps({"scope": "instrument", "id": "NSE:RELIANCE", "reason": text})
        answer = await http.post(f"/api/v1/risk/{path}", content=asked)
        assert_problem(answer, 422, "FIELD_INVALID", "reason")


async def test_a_reason_in_any_script_is_kept_composed(http: httpx.AsyncClient, database: Database) -> None:
    await sign_in(http, "RISK01")
    subject = {"scope": "instrument", "id": "BSE:RELIANCE"}
    text = "असामान्य व्यापार: cafe\u0301 " + "ß" * 170
    assert len(text) <= 200
    answer = await http.post("/api/v1/risk/freeze", json={**subject, "state": "HALTED", "reason": text})
    assert answer.status_code == 200, answer.text
    states = (await http.get("/api/v1/risk/states")).json()["states"]
    reasons = [row["reason"] for row in states if row["id"] == "BSE:RELIANCE"]
    assert (await http.post("/api/v1/risk/unfreeze", json={**subject, "reason": "over"})).status_code == 200
    assert reasons == [text.replace("e\u0301", "é")]


@pytest.mark.parametrize(
    ("address", "kept"),
    [("10.1.2.3", "10.1.2.3"), ("::1", "::1"), ("fe80::1%eth0", "fe80::1"), ("<script>", None), ("", None)],
)
async def test_an_address_is_an_address_or_nothing(
    app: FastAPI, database: Database, address: str, kept: str | None
) -> None:
    transport = httpx.ASGITransport(app=app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as http:
        await sign_in(http, "DEMO0055")
        answer = await http.post(
            ORDERS, json=an_order(), headers=[(b"X-Device-Fingerprint", b"dev\x7fice \xe2\x80\xae")]
        )
    assert answer.status_code == 202, answer.text
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT host(client_ip) AS ip, device FROM audit_log WHERE order_id = %s",
            (int(answer.json()["order_id"]),),
        )
        row = await found.fetchone()
    assert row is not None and row["ip"] == kept
    assert row["device"].isprintable()


@pytest.mark.parametrize("trial", ["", "?dry_run=true"])
async def test_an_index_is_quoted_and_not_traded(client: httpx.AsyncClient, trial: str) -> None:
    """Its id has blanks, and was refused for them."""
    answer = await client.post(f"{ORDERS}{trial}", json=an_order(instrument_id="NSE:NIFTY 50"))
    if trial:
        assert answer.json()["failures"][0]["code"] == "INSTRUMENT_NOT_TRADABLE"
    else:
        assert_problem(answer, 422, "INSTRUMENT_NOT_TRADABLE", "instrument_id")


async def test_every_id_of_the_master_may_be_asked_for(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/api/v1/instruments?limit=1000")).json()["instruments"]
    assert any(" " in row["instrument_id"] for row in listed)
    for row in listed:
        answer = await client.get(ORDERS, params={"instrument_id": row["instrument_id"]})
        assert answer.status_code == 200, answer.text
        assert re.fullmatch(INSTRUMENT_ID, row["instrument_id"])


@pytest.mark.parametrize(
    "name", ["NSE:NIFTY  50", " NSE:TCS", "NSE:TCS ", "nse:tcs", "NSE:\u00a0TCS", "NSE:TCS\n"]
)
async def test_what_is_no_id_is_refused_by_its_shape(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post(ORDERS, json=an_order(instrument_id=name))
    assert_problem(answer, 422, "FIELD_INVALID", "instrument_id")
