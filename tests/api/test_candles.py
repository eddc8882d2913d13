"""Candles over HTTP: rupee strings and RFC 3339, page by page, and what cannot be asked is told."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from config.settings import Settings
from storage.database import Database
from storage.market import candles
from storage.market.candles import Candle

MINUTE = 60_000_000_000
NINE = 28_333_980 * MINUTE
"""2023-11-15 09:00 UTC"""
ASKED = {"instrument_id": "NSE:TCS", "from": "2023-11-15T09:00:00Z", "to": "2023-11-15T10:00:00Z"}


@pytest.fixture(scope="module")
async def app(servers: Settings, database: Database) -> AsyncIterator[FastAPI]:
    await candles.write(
        database,
        [
            Candle("NSE:TCS", NINE + n * MINUTE, 320005 + n, 320105, 319995, 320050, 100, 150)
            for n in range(-1, 5)
        ],
    )
    application = create_app(servers)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hundi") as client:
        yield client


async def test_candles_are_rupees_and_instants(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/market/candles", params=ASKED)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["instrument_id"], body["has_more"], body["next_from"]) == ("NSE:TCS", False, None)
    assert len(body["candles"]) == 5
    assert body["candles"][0] == {
        "time": "2023-11-15T09:00:00.000000000Z",
        "open": "3200.05",
        "high": "3201.05",
        "low": "3199.95",
        "close": "3200.50",
        "volume": 50,
    }


async def test_a_zone_may_be_any_and_pages_follow_each_other(http: httpx.AsyncClient) -> None:
    asked = ASKED | {"from": "2023-11-15T14:30:00+05:30", "limit": "2"}
    opened, pages = [], 0
    while True:
        body = (await http.get("/api/v1/market/candles", params=asked)).json()
        opened += [candle["open"] for candle in body["candles"]]
        pages += 1
        if not body["has_more"]:
            break
        asked["from"] = body["next_from"]
    assert pages == 3
    assert opened == ["3200.05", "3200.06", "3200.07", "3200.08", "3200.09"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"instrument_id": "NSE:NOSUCH"}, "INSTRUMENT_UNKNOWN"),
        ({"instrument_id": "x" * 31}, "FIELD_INVALID"),
        ({"from": "yesterday"}, "FIELD_INVALID"),
        ({"from": "2023-11-15T09:00:00"}, "FIELD_INVALID"),
        ({"to": "9" * 40}, "FIELD_INVALID"),
        ({"limit": "0"}, "FIELD_INVALID"),
        ({"limit": "5001"}, "FIELD_INVALID"),
    ],
)
async def test_what_cannot_be_asked_is_told(
    http: httpx.AsyncClient, change: dict[str, str], code: str
) -> None:
    answer = await http.get("/api/v1/market/candles", params=ASKED | change)
    assert answer.status_code == 422
    assert answer.json()["code"] == code


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_the_ends_of_time_are_no_error(http: httpx.AsyncClient, instant: str) -> None:
    for name in ("from", "to"):
        answer = await http.get("/api/v1/market/candles", params=ASKED | {name: instant})
        assert answer.status_code == 200, answer.text
