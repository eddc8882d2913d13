"""Every route of the served document beside everything that may be wrong with who asks, and how.

Generated from the document of the API as it runs, so a new route is in it by being served. Each answer is
judged by the same rules, whatever it refuses: the right status, a problem document, and nothing given away.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import jwt
import pytest
from fastapi import FastAPI

from api.app import create_app
from config.settings import Settings
from config.tokens import ALGORITHM, AUDIENCE, ISSUER, issue
from domain.problem_documents import EVERY_ANSWER, MEDIA_TYPE
from storage.database import Database
from tests.support.clients import an_order, sign_in

DOCUMENT = create_app(Settings()).openapi()
ROUTES = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
ROLES = {
    "CLIENT": "DEMO0071",
    "RISK": "RISK01",
    "SUPPORT": "SUPPORT01",
    "COMPLIANCE": "COMPLY01",
}
NOBODYS = "991231000000001"
ANSWER_BYTES_MAX = 4096
BODIES: dict[str, dict[str, Any]] = {
    "SignIn": {"client_id": "DEMO0071", "password": "wrong"},
    "PlaceOrder": an_order(),
    "ChangeOrder": {"quantity": 5},
    "Freeze": {"scope": "user", "id": "DEMO0072", "reason": "a test"},
    "Unfreeze": {"scope": "user", "id": "DEMO0072", "reason": "a test"},
    "SetLimits": {
        "exposure_limit": "1.00",
        "position_limit": 1,
        "order_value_limit": "1.00",
        "reason": "a test",
    },
}
"""A good one of each schema; one that is not here fails the first test."""


def roles(operation: dict[str, Any]) -> list[str]:
    """Those that the route is for; of an open one none."""
    return [role for requirement in operation.get("security", []) for role in requirement["HTTPBearer"]]


def schema(operation: dict[str, Any]) -> str | None:
    """The name of its body's."""
    contents = operation.get("requestBody", {}).get("content", {}).values()
    return next((content["schema"]["$ref"].rpartition("/")[2] for content in contents), None)


CLOSED = [route for route in ROUTES if roles(route[2])]
WITH_BODY = [route for route in ROUTES if schema(route[2])]


@pytest.fixture(scope="module")
async def bearers(app: FastAPI) -> dict[str, str]:
    """An Authorization header of each role."""
    found = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hundi") as http:
        for role, client_id in ROLES.items():
            await sign_in(http, client_id)
            found[role] = http.headers["Authorization"]
    return found


def forged(settings: Settings) -> Iterator[tuple[str, str]]:
    """Authorization headers that open nothing, by what is wrong with them."""
    now, key = int(time.time()), settings.jwt_key
    good: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "1",
        "client_id": "DEMO0001",
        "role": "CLIENT",
        "iat": now,
        "exp": now + 60,
    }
    token, _ = issue(settings, 1, "DEMO0001", "CLIENT", now)
    head, body, signature = token.split(".")

    def signed(algorithm: str = ALGORITHM, by: Any = key, headers: Any = None, **changes: Any) -> str:
        claims = {name: value for name, value in (good | changes).items() if value is not ...}
        return "Bearer " + jwt.encode(claims, by, algorithm, headers=headers)

    def raw(header: dict[str, Any], claims: Any, last: str = signature) -> str:
        parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, claims))
        return "Bearer " + ".".join([*(part.rstrip("=") for part in parts), last])

    yield from {
        "nothing": "",
        "no scheme": token,
        "scheme alone": "Bearer",
        "empty": "Bearer ",
        "blanks": "Bearer    ",
        "basic": "Basic " + base64.b64encode(b"DEMO0001:demo").decode(),
        "basic with the token": f"Basic {token}",
        "digest": 'Digest username="DEMO0001"',
        "another scheme": f"Token {token}",
        "negotiate": f"Negotiate {token}",
        "garbage": "Bearer garbage",
        "three dots": "Bearer a.b.c",
        "dots alone": "Bearer ...",
        "two parts": f"Bearer {head}.{body}",
        "four parts": f"Bearer {token}.{signature}",
        "five parts": f"Bearer {head}.{body}.{signature}.{body}.{signature}",
        "two tokens": f"Bearer {token} {token}",
        "a comma": f"Bearer {token},{token}",
        "quoted": f'Bearer "{token}"',
        "cut": f"Bearer {token[:-4]}",
        "longer": f"Bearer {token}AAAA",
        "no signature": f"Bearer {head}.{body}.",
        "another signature": f"Bearer {head}.{body}.{signature[::-1]}",
        "last bit turned": f"Bearer {head}.{body}.{_turned(signature)}",
        "large": "Bearer " + "a" * 12_000,
        "not base64": f"Bearer {head}.!!!.{signature}",
        "latin letters": "Bearer \u00e9\u00e8\u00ea",
        "alg none": "Bearer " + jwt.encode(good, None, "none"),
        "alg None, unsigned": raw({"alg": "None", "typ": "JWT"}, good, ""),
        "alg NONE with our signature": raw({"alg": "NONE", "typ": "JWT"}, good),
        "no alg": raw({"typ": "JWT"}, good),
        "alg a number": raw({"alg": 1}, good),
        "alg RS256": raw({"alg": "RS256", "typ": "JWT"}, good),
        "alg HS384": signed("HS384", key * 2),
        "alg HS512": signed("HS512", key * 3),
        "alg in small letters": raw({"alg": "hs256", "typ": "JWT"}, good),
        "critical header": signed(headers={"crit": ["x"], "x": 1}),
        "key in its header": signed(by="k" * 40, headers={"jwk": {"kty": "oct", "k": "a2tr"}}),
        "key id is a path": signed(by="k" * 40, headers={"kid": "../../dev/null"}),
        "key of the empty string": raw({"alg": ALGORITHM, "typ": "JWT"}, good, _signature(good, b"")),
        "wrong key": signed(by="another secret, long enough for it"),
        "claims are a list": raw({"alg": ALGORITHM, "typ": "JWT"}, [1, 2]),
        "claims are text": raw({"alg": ALGORITHM, "typ": "JWT"}, "x"),
        "changed role": raw({"alg": ALGORITHM, "typ": "JWT"}, good | {"role": "RISK"}),
        "expired": signed(iat=now - 90, exp=now - 1),
        "expired for long": signed(iat=0, exp=1),
        "no expiry": signed(exp=...),
        "expiry is text": signed(exp="never"),
        "not yet valid": signed(nbf=now + 3600),
        "issued tomorrow": signed(iat=now + 86_400, exp=now + 90_000),
        "no issue": signed(iat=...),
        "another audience": signed(aud="hundi-stream"),
        "no audience": signed(aud=...),
        "another issuer": signed(iss="elsewhere"),
        "no issuer": signed(iss=...),
        "no subject": signed(sub=...),
        "subject is a name": signed(sub="DEMO0001"),
        "subject is a number below": signed(sub="-1x"),
        "no role": signed(role=...),
        "no client id": signed(client_id=...),
    }.items()


def _signature(claims: Any, key: bytes) -> str:
    """By hand: the library refuses to sign with such a key."""
    header = {"alg": ALGORITHM, "typ": "JWT"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    made = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _turned(signature: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def request(
    operation: dict[str, Any], path: str, authorization: str | None = None, order_id: str = NOBODYS
) -> tuple[str, dict[str, Any]]:
    """The route's address, and a body and parameters that are in order."""
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    asked: dict[str, Any] = {"headers": headers}
    if name := schema(operation):
        asked["json"] = BODIES[name]
    needed = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query" and p.get("required")]
    known = {"instrument_id": "NSE:TCS", "from": "2026-11-23T09:15:00Z", "to": "2026-11-23T09:16:00Z"}
    asked["params"] = {name: known[name] for name in needed}
    return path.format(order_id=order_id, client_id="DEMO0072"), asked


def judge(answer: httpx.Response, status: int, code: str, *secrets: str, method: str = "GET") -> None:
    """What every refusal has in common."""
    assert answer.status_code == status, answer.text[:300]
    for name, value in EVERY_ANSWER.items():
        assert answer.headers[name] == value
    assert len(answer.headers["x-trace-id"]) == 32
    assert "location" not in answer.headers and "set-cookie" not in answer.headers
    if method == "HEAD":
        return
    assert answer.headers["content-type"] == MEDIA_TYPE
    document = answer.json()
    assert (document["code"], document["status"]) == (code, status)
    assert document["trace_id"] == answer.headers["x-trace-id"]
    assert len(answer.content) <= ANSWER_BYTES_MAX
    for secret in secrets:
        assert secret not in answer.text
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_document_names_the_roles_of_every_closed_route_and_we_have_a_body_for_each() -> None:
    open_ones = {(method, path) for method, path, operation in ROUTES if not roles(operation)}
    assert open_ones == {
        ("POST", "/api/v1/session"),
        ("GET", "/api/v1/instruments"),
        ("GET", "/api/v1/market/candles"),
        ("GET", "/api/v1/market/status"),
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/readyz"),
        ("HEAD", "/readyz"),
    }
    assert all(set(roles(operation)) <= set(ROLES) for _, _, operation in CLOSED)
    assert all("403" in operation["responses"] for _, _, operation in CLOSED)
    assert {schema(operation) for _, _, operation in WITH_BODY} == set(BODIES)


@pytest.mark.parametrize(("method", "path", "operation"), CLOSED)
async def test_what_is_no_token_of_ours_opens_no_route(
    http: httpx.AsyncClient, servers: Settings, method: str, path: str, operation: dict[str, Any]
) -> None:
    variants = dict(forged(servers))
    assert len(variants) >= 50
    for fault, authorization in variants.items():
        address, asked = request(operation, path, authorization)
        answer = await http.request(method, address, **asked)
        assert answer.status_code == 401, (fault, answer.text)
        secret = authorization.rpartition(" ")[2]
        code = answer.json()["code"]
        assert code in ("TOKEN_MISSING", "TOKEN_REFUSED"), fault
        judge(answer, 401, code, *([secret] if len(secret) > 8 else []), method=method)


@pytest.mark.parametrize(("method", "path", "operation"), CLOSED)
async def test_a_role_that_the_route_does_not_name_is_refused_before_anything_is_read(
    http: httpx.AsyncClient, bearers: dict[str, str], method: str, path: str, operation: dict[str, Any]
) -> None:
    for role in set(ROLES) - set(roles(operation)):
        address, asked = request(operation, path, bearers[role])
        judge(await http.request(method, address, **asked), 403, "ROLE_REQUIRED", method=method)
        if "json" in asked:
            asked["content"] = b"no json" if asked.pop("json") else b""
            judge(await http.request(method, address, **asked), 403, "ROLE_REQUIRED", method=method)


@pytest.mark.parametrize(
    ("method", "path", "operation"), [route for route in CLOSED if "{order_id}" in route[1]]
)
async def test_another_s_order_is_one_that_is_not_there(
    http: httpx.AsyncClient, bearers: dict[str, str], method: str, path: str, operation: dict[str, Any]
) -> None:
    await sign_in(http, "DEMO0072")
    theirs = (await http.post("/api/v1/orders", json=an_order())).json()["order_id"]
    answers = []
    for order_id in (theirs, NOBODYS, str(int(theirs) + 1), "0" * 15):
        address, asked = request(operation, path, bearers["CLIENT"], order_id)
        answers.append(await http.request(method, address, **asked))
        judge(answers[-1], 404, "ORDER_UNKNOWN", theirs)
    assert len({json.dumps(answer.json() | {"trace_id": ""}) for answer in answers}) == 1
    for strange in ("1", "x" * 15, theirs + "0", "-" + theirs[1:], theirs.replace("1", "\u0967"), "%00" * 3):
        address, asked = request(operation, path, bearers["CLIENT"], strange)
        answer = await http.request(method, address, **asked)
        judge(answer, 422, "FIELD_INVALID")


@pytest.mark.parametrize("path", sorted(DOCUMENT["paths"]))
async def test_a_method_that_the_path_has_not_is_refused(
    http: httpx.AsyncClient, bearers: dict[str, str], path: str
) -> None:
    right = {method for method, own, _ in ROUTES if own == path}
    for method in [*METHODS, "CONNECT", "PROPFIND", "X" * 100]:
        if method in right:
            continue
        for role in (None, "CLIENT", "RISK"):
            authorization = bearers[role] if role else None
            address, asked = request({}, path, authorization)
            answer = await http.request(method, address, **asked)
            judge(answer, 405, "METHOD_NOT_ALLOWED", method=method)
            assert set(answer.headers["allow"].split(", ")) == right


PARENTS = {path.rpartition("/")[0] for path in DOCUMENT["paths"] if path.endswith("}")}
STRANGE = {
    "a slash more": "{path}/",
    "two slashes": "/{path}",
    "a slash within": "{path}//",
    "a dot": "{path}/.",
    "upwards": "{path}/../../../../etc/passwd",
    "upwards, escaped": "{path}/%2e%2e/%2e%2e/etc/passwd",
    "a slash, escaped": "{path}%2f",
    "NUL": "{path}%00",
    "a blank": "{path}%20",
    "a new line": "{path}%0d%0aX-Evil:%201",
    "no UTF-8": "{path}%ff%fe",
    "a parameter of old": "{path};jsessionid=1",
    "an ending": "{path}.json",
    "longer": "{path}/" + "a" * 4_000,
    "markup": "{path}/<script>alert(1)</script>",
    "large letters": "{large}",
}


async def untidied(app: FastAPI, method: str, path: str, authorization: str) -> httpx.Response:
    """A request whose path is as it was written: httpx would resolve its dots, a stranger does not."""
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answer.update(message | {"body": answer["body"] + message.get("body", b"")})

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("hundi", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "headers": [(b"host", b"hundi"), (b"authorization", authorization.encode())],
        "state": {},
    }
    await app(scope, receive, send)
    return httpx.Response(answer["status"], headers=answer["headers"], content=answer["body"])


@pytest.mark.parametrize("path", sorted({path for _, path, _ in ROUTES if "{" not in path}))
async def test_a_path_that_is_not_there_is_refused_whatever_it_resembles(
    app: FastAPI, bearers: dict[str, str], path: str
) -> None:
    for name, strange in STRANGE.items():
        address = strange.format(path=path, large=path.upper())
        for method in ("GET", "POST", "DELETE"):
            answer = await untidied(app, method, address, bearers["CLIENT"])
            if answer.status_code == 404:
                judge(answer, 404, "NOT_FOUND", "<script", method=method)
                continue
            # One segment more is an id to some routes, and no order's or client's.
            assert path in PARENTS and answer.status_code in (405, 422), (name, answer.text)
            judge(answer, answer.status_code, answer.json()["code"], method=method)


EXTRA: dict[str, Any] = {
    "user_id": 1,
    "role": "RISK",
    "status": "EXECUTED",
    "order_id": NOBODYS,
    "__proto__": {"admin": True},
    "constructor": {},
    "": 1,
    "\u202e": 1,
    "is_admin": True,
    "x" * 5_000: 1,
}


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
async def test_a_member_that_nobody_asked_for_is_refused(
    http: httpx.AsyncClient,
    bearers: dict[str, str],
    database: Database,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    role = next(iter(roles(operation)), None)
    # An order of one's own, so that the body is what is wrong.
    http.headers["Authorization"] = bearers["CLIENT"]
    own = (await http.post("/api/v1/orders", json=an_order())).json()["order_id"]
    del http.headers["Authorization"]
    address, asked = request(operation, path, bearers[role] if role else None, own)
    good = asked.pop("json")
    for name, value in EXTRA.items():
        if name not in good:
            answer = await http.request(method, address, json={**good, name: value}, **asked)
            judge(answer, 422, "FIELD_INVALID")
    for name in good:
        for value in (None, [], {}, True, 1e400, "\x00", "x" * 3_000, [[[[]]]]):
            answer = await http.request(
                method, address, content=json.dumps({**good, name: value}).encode(), **asked
            )
            assert answer.status_code < 500
            if answer.status_code >= 400:
                judge(answer, answer.status_code, answer.json()["code"])
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 5_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b"1", 422),
        (b" " * 20_000, 413),
    ):
        answer = await http.request(method, address, content=body, **asked)
        judge(answer, status, answer.json()["code"])


@pytest.fixture(autouse=True, scope="module")
async def nothing_was_done(database: Database) -> AsyncIterator[None]:
    """Whatever was refused here froze nobody and set nobody's limits."""
    yield
    await asyncio.sleep(0)
    async with database.reading() as conn:
        found = await conn.execute("SELECT count(*) AS n FROM trading_states WHERE scope_id = 'DEMO0072'")
        row = await found.fetchone()
    assert row is not None and row["n"] == 0
