"""The API as a browser meets it: pages that load nothing from elsewhere, and which other pages may use it."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from api.app import create_app
from config.settings import Settings

OURS = "https://trade.example"
PREFLIGHT = {
    "Origin": OURS,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-device-fingerprint",
}


@pytest.fixture
async def shared(servers: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The application of a broker whose web terminal is at another origin."""
    settings = servers.model_copy(update={"cors_origins": (OURS, "http://localhost:3000")})
    transport = httpx.ASGITransport(app=create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
        yield client


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_all_that_it_needs_from_here(http: httpx.AsyncClient, page: str) -> None:
    """They were empty without a content network, and told it who reads them."""
    answer = await http.get(page)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    needed = set(re.findall(r"""(?:src|href|url|spec-url)\s*[=:]\s*["']([^"']+)["']""", answer.text))
    assert "/openapi.json" in needed and any(name.endswith(".js") for name in needed)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for address in needed:
        assert address.startswith("/") and not address.startswith("//"), address
        loaded = await http.get(address)
        assert loaded.status_code == 200, address
        kind = {"js": "text/javascript", "css": "text/css", "png": "image/png", "json": "application/json"}
        assert loaded.headers["content-type"].startswith(kind[address.rpartition(".")[2]])
    assert "//" not in re.sub(r"<!--.*?-->|//[^\n]*\n", "", answer.text.replace("http-equiv", ""))


@pytest.mark.parametrize("path", ["/docs/assets/", "/docs/assets/nothing.js", "/docs/assets/../../core.py"])
async def test_beside_the_assets_there_is_nothing(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_whoever_only_looks_whether_we_are_well_asks_with_head(
    http: httpx.AsyncClient, path: str
) -> None:
    assert (await http.head(path)).status_code == 200
    assert (await http.head(path, params={"x": "1"})).status_code == 422


async def test_by_default_no_other_origin_is_let_in(http: httpx.AsyncClient) -> None:
    preflight = await http.options("/api/v1/orders", headers=PREFLIGHT)
    assert (preflight.status_code, preflight.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    plain = await http.get("/api/v1/instruments", headers={"Origin": OURS})
    for answer in (preflight, plain):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", [OURS, "http://localhost:3000"])
async def test_a_listed_origin_is_let_in_without_cookies(shared: httpx.AsyncClient, origin: str) -> None:
    preflight = await shared.options("/api/v1/orders", headers=PREFLIGHT | {"Origin": origin})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, origin)
    refused = await shared.get("/api/v1/orders", headers={"Origin": origin})
    assert refused.json()["code"] == "TOKEN_MISSING"
    assert refused.headers["access-control-allow-origin"] == origin
    assert "X-Trace-Id" in refused.headers["access-control-expose-headers"]
    for answer in (preflight, refused):
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": "https://trade.example.evil.test"},
        {"Origin": "https://TRADE.example"},
        {"Origin": "http://trade.example"},
        {"Origin": "https://trade.example:8443"},
        {"Origin": "null"},
        {"Access-Control-Request-Method": "PATCH"},
        {"Access-Control-Request-Headers": "x-other"},
    ],
)
async def test_whatever_is_not_listed_exactly_is_not_let_in(
    shared: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    preflight = await shared.options("/api/v1/orders", headers=PREFLIGHT | asked)
    assert (preflight.status_code, preflight.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    if "Origin" in asked:
        plain = await shared.get("/healthz", headers=asked)
        for answer in (preflight, plain):
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["*", "trade.example", "https://trade.example/", "https://*.example", ""])
def test_what_is_no_origin_is_no_setting(origin: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=(origin,))
