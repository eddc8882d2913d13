"""Who is refused what: every route beside every way of not being entitled to it (OWASP API 1, 2, 3).

The routes are written out; a route of the served document that is not in the table fails the first test.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from api.app import create_app
from config.settings import Settings
from config.tokens import ALGORITHM, AUDIENCE, ISSUER, issue
from tests.support.clients import an_order, sign_in

OPEN = [
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/instruments"),
    ("GET", "/api/v1/market/candles"),
    ("GET", "/api/v1/market/status"),
    ("GET", "/healthz"),
    ("HEAD", "/healthz"),
    ("GET", "/readyz"),
    ("HEAD", "/readyz"),
]
CLOSED = [
    ("POST", "/api/v1/orders"),
    ("GET", "/api/v1/orders"),
    ("GET", "/api/v1/orders/{order_id}"),
    ("PUT", "/api/v1/orders/{order_id}"),
    ("DELETE", "/api/v1/orders/{order_id}"),
    ("GET", "/api/v1/portfolio/holdings"),
    ("GET", "/api/v1/portfolio/positions"),
    ("GET", "/api/v1/portfolio/margins"),
]
DESK = [
    ("POST", "/api/v1/risk/freeze"),
    ("POST", "/api/v1/risk/unfreeze"),
    ("GET", "/api/v1/risk/states"),
    ("GET", "/api/v1/risk/limits"),
    ("PUT", "/api/v1/risk/limits/{client_id}"),
]
CLOSED += DESK
OF_ONE_ORDER = [route for route in CLOSED if "{order_id}" in route[1]]
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/session": {"client_id": "DEMO0041", "password": "demo"},
    "/api/v1/orders": an_order(),
    "/api/v1/risk/freeze": {"scope": "user", "id": "DEMO0042", "reason": "a test"},
    "/api/v1/risk/unfreeze": {"scope": "user", "id": "DEMO0042", "reason": "a test"},
    "/api/v1/risk/limits/{client_id}": {
        "exposure_limit": "1.00",
        "position_limit": 1,
        "order_value_limit": "1.00",
        "reason": "a test",
    },
    "/api/v1/orders/{order_id}": {"quantity": 5},
}
WITH_BODY = [(method, path) for method, path in OPEN + CLOSED if method in ("POST", "PUT")]
NOBODYS = "991231000000001"
"""An order id of the right shape."""


@pytest.fixture(scope="module")
def tokens(servers: Settings) -> dict[str, str]:
    """What is not a token of ours, by what is wrong with it."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "1", "client_id": "X", "role": "CLIENT", "iat": now}
    good, key = claims | {"exp": now + 60}, servers.jwt_key
    changed = {"jwt_secret": "another secret, long enough for every HMAC that is tried"}
    stranger = Settings(**(servers.model_dump() | changed))
    return {
        "expired": issue(servers, 1, "DEMO0001", "CLIENT", now - 30 * 3600)[0],
        "wrong key": issue(stranger, 1, "DEMO0001", "CLIENT", now)[0],
        "alg none": jwt.encode(good, None, "none"),
        "another algorithm": jwt.encode(good, key * 2, "HS384"),
        "no expiry": jwt.encode(claims, key, ALGORITHM),
        "another audience": jwt.encode(good | {"aud": "elsewhere"}, key, ALGORITHM),
        "another issuer": jwt.encode(good | {"iss": "elsewhere"}, key, ALGORITHM),
        "subject is no user": jwt.encode(good | {"sub": "x"}, key, ALGORITHM),
        "garbage": "a.b.c",
        "empty": "",
    }


async def ask(
    http: httpx.AsyncClient, method: str, path: str, order_id: str = NOBODYS, **request: Any
) -> httpx.Response:
    """The route, and where it takes a body one that is in order."""
    if (method, path) in WITH_BODY:
        request = {"json": BODIES[path], **request}
    return await http.request(method, path.format(order_id=order_id, client_id="DEMO0042"), **request)


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_the_table_has_every_route_and_the_document_says_which_are_open(app: FastAPI) -> None:
    served = {
        (method.upper(), path): "security" in operation
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }
    assert served == dict.fromkeys(OPEN, False) | dict.fromkeys(CLOSED, True)


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_without_a_token_there_is_no_answer(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await ask(http, method, path)
    assert_refused(answer, 401, "TOKEN_MISSING")
    assert answer.headers["www-authenticate"] == "Bearer"
    basic = await ask(http, method, path, auth=("DEMO0001", "demo"))
    assert_refused(basic, 401, "TOKEN_MISSING")


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_only_our_own_unexpired_token_opens_a_route(
    http: httpx.AsyncClient, tokens: dict[str, str], method: str, path: str
) -> None:
    for fault, token in tokens.items():
        answer = await ask(http, method, path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, fault
        assert answer.json()["code"] == ("TOKEN_REFUSED" if token else "TOKEN_MISSING"), fault


@pytest.mark.parametrize(("method", "path"), DESK)
@pytest.mark.parametrize("client_id", ["DEMO0041", "SUPPORT01", "COMPLY01"])
async def test_the_risk_desk_s_routes_are_the_risk_desk_s_alone(
    http: httpx.AsyncClient, client_id: str, method: str, path: str
) -> None:
    await sign_in(http, client_id)
    assert_refused(await ask(http, method, path), 403, "ROLE_REQUIRED")


@pytest.mark.parametrize(("method", "path"), OF_ONE_ORDER)
async def test_another_users_order_looks_like_one_that_does_not_exist(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    await sign_in(http, "DEMO0042")
    theirs = (await http.post("/api/v1/orders", json=an_order())).json()["order_id"]
    await sign_in(http, "DEMO0041")
    answers = [await ask(http, method, path, order_id) for order_id in (theirs, NOBODYS)]
    for answer in answers:
        assert_refused(answer, 404, "ORDER_UNKNOWN")
    told = [{**answer.json(), "trace_id": ""} for answer in answers]
    assert told[0] == told[1]


async def test_lists_and_books_show_their_owner_nothing_of_another(http: httpx.AsyncClient) -> None:
    await sign_in(http, "DEMO0042")
    theirs = (await http.post("/api/v1/orders", json=an_order())).json()["order_id"]
    await sign_in(http, "DEMO0041")
    listed = (await http.get("/api/v1/orders")).json()["orders"]
    after_theirs = (await http.get("/api/v1/orders", params={"cursor": str(int(theirs) + 1)})).json()
    assert theirs not in {order["order_id"] for order in [*listed, *after_theirs["orders"]]}


async def test_the_same_key_of_two_users_is_two_orders(http: httpx.AsyncClient) -> None:
    body = an_order()
    placed = set()
    for client_id in ("DEMO0041", "DEMO0042"):
        await sign_in(http, client_id)
        answer = await http.post("/api/v1/orders", json=body)
        assert "idempotent-replayed" not in answer.headers
        placed.add(answer.json()["order_id"])
    assert len(placed) == 2


# A HEAD has no body to say it in; that it is refused is in test_browsers.py.
@pytest.mark.parametrize(("method", "path"), [row for row in OPEN + CLOSED if row[0] != "HEAD"])
async def test_an_unknown_parameter_is_refused_by_its_name(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    """A misspelt parameter must not be silently without effect: it might have been the limit."""
    await sign_in(http, "DEMO0041")
    answer = await ask(http, method, path, params={"user_id": "1"})
    assert_refused(answer, 422, "FIELD_INVALID")
    assert answer.json()["field"] == "user_id"


@pytest.mark.parametrize(("method", "path"), [route for route in WITH_BODY if route not in DESK])
@pytest.mark.parametrize("field", ["user_id", "status", "order_id", "role"])
async def test_an_extra_member_of_a_body_is_refused_by_its_name(
    http: httpx.AsyncClient, method: str, path: str, field: str
) -> None:
    await sign_in(http, "DEMO0041")
    before = (await http.get("/api/v1/orders", params={"limit": 1})).json()
    answer = await ask(http, method, path, json={**BODIES[path], field: "1"})
    assert_refused(answer, 422, "FIELD_INVALID")
    assert field in {failure["field"] for failure in answer.json()["failures"]}
    assert (await http.get("/api/v1/orders", params={"limit": 1})).json() == before


@pytest.mark.parametrize("path", sorted({path for _, path in OPEN + CLOSED}))
async def test_a_wrong_method_is_a_problem_that_says_which_are_right(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await ask(http, "PATCH", path)
    assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
    right = {allowed for allowed, own in OPEN + CLOSED if own == path}
    assert set(answer.headers["allow"].split(", ")) == right


@pytest.mark.parametrize("path", ["/", "/api/v1/order", "/api/v2/orders", "/api/v1/orders/1/2"])
async def test_a_wrong_path_is_a_problem(http: httpx.AsyncClient, path: str) -> None:
    assert_refused(await http.get(path), 404, "NOT_FOUND")


@pytest.fixture
async def faulty(servers: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The application with one more route, which has a bug."""
    app = create_app(servers)

    @app.get("/bug")
    async def bug() -> int:
        return 1 // 0

    # As a server does: the exception goes on to be seen, the client has its answer before.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
        yield client


async def test_a_bug_of_ours_is_a_problem_and_is_logged_under_its_trace_id(faulty: httpx.AsyncClient) -> None:
    with capture_logs() as logged:
        answer = await faulty.get("/bug")
    assert_refused(answer, 500, "INTERNAL_ERROR")
    [entry] = logged
    assert (entry["event"], entry["trace_id"]) == ("unforeseen_error", answer.json()["trace_id"])
    assert "ZeroDivisionError" in repr(entry["exc_info"])
    assert "ZeroDivisionError" not in answer.text
