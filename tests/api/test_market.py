"""What clients read of the trading day: announced phases beside the rules, and what instruments take when."""

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.market_responses import Permissions, SegmentStatus
from config.sessions import session_rules
from config.settings import Settings
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.reports import MarketPhase, SessionPhase
from domain.sessions import SessionClass
from domain.time import IST, NANOS, rfc3339
from storage.database import Database
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from tests.support.builders import an_instrument


@pytest.fixture(scope="module")
async def http(servers: Settings) -> AsyncIterator[httpx.AsyncClient]:
    application = create_app(servers)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://hundi") as client,
    ):
        yield client


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


async def announce(database: Database, number: int, *phases: SessionPhase) -> None:
    arrivals = [Arrival("TST", "test", number + i, phase, phase.since_ns) for i, phase in enumerate(phases)]
    async with database.transaction() as conn:
        await write(conn, [], arrivals, 0)


async def statuses(http: httpx.AsyncClient, segment: str) -> dict[str, dict[str, Any]]:
    answer = await http.get("/api/v1/market/status")
    rows = answer.raise_for_status().json()["segments"]
    return {
        row["session_class"]: row for row in rows if (row["exchange"], row["segment"]) == ("TST", segment)
    }


async def test_each_class_shows_the_phase_that_was_announced_for_it(
    http: httpx.AsyncClient, database: Database
) -> None:
    since = at("2026-11-23 15:20:00")
    auction = SessionPhase("TST", "CASH", MarketPhase.CLOSING_AUCTION, since, "CAS")
    trading = SessionPhase("TST", "CASH", MarketPhase.CONTINUOUS, since, "CASH")
    await announce(database, 9001, auction, trading)
    rows = await statuses(http, "CASH")
    assert {name: row["phase"] for name, row in rows.items()} == {
        "CAS": "CLOSING_AUCTION",
        "CASH": "CONTINUOUS",
    }
    cas = rows["CAS"]
    assert (cas["order_types"], cas["validities"]) == (["LIMIT", "MARKET"], ["DAY"])
    assert (cas["modify"], cas["cancel"], cas["since"]) == (True, True, rfc3339(since))
    assert set(cas) >= {"scheduled_phase", "next_change"}


async def test_an_exchange_that_names_no_class_speaks_for_the_segment(
    http: httpx.AsyncClient, database: Database
) -> None:
    halted = SessionPhase("TST", "FO", MarketPhase.HALTED, at("2026-11-23 15:20:00"))
    await announce(database, 9101, halted)
    rows = await statuses(http, "FO")
    assert {name: row["phase"] for name, row in rows.items()} == {"FO": "HALTED", "FRONT_FUTURE": "HALTED"}
    older = SessionPhase("TST", "FO", MarketPhase.CONTINUOUS, at("2026-11-23 15:19:00"))
    await announce(database, 9102, older)
    assert {row["phase"] for row in (await statuses(http, "FO")).values()} == {"HALTED"}


def test_the_next_change_is_told_as_an_interval() -> None:
    row = {
        "exchange": "NSE",
        "segment": "CASH",
        "session_class": "CAS",
        "phase": "CLOSING_AUCTION_LIMIT",
        "since_ns": at("2026-11-23 15:25:00"),
    }
    seen = SegmentStatus.of(row, session_rules(), at("2026-11-23 15:26:00")).model_dump()
    assert seen["scheduled_phase"] == "CLOSING_AUCTION_LIMIT"
    assert seen["next_change"] == {
        "phase": "CLOSING_MATCHING",
        "earliest": "2026-11-23T09:58:00.000000000Z",
        "latest": "2026-11-23T10:00:00.000000000Z",
    }


def permissions(instrument: Instrument, session_class: SessionClass, day: date) -> dict[str, Any]:
    return Permissions.by_rules(instrument, session_class, session_rules(), day).model_dump()


def test_an_instrument_says_which_orders_its_phases_take() -> None:
    day = date(2026, 11, 23)
    share = permissions(an_instrument(), SessionClass.CAS, day)
    assert share["products"] == ["CNC", "MIS"]
    assert share["phases"] == {
        "PRE_OPEN_ENTRY": ["LIMIT", "MARKET"],
        "PRE_OPEN_LIMIT": ["LIMIT"],
        "CONTINUOUS": ["LIMIT", "MARKET", "SL", "SL-M"],
        "CLOSING_AUCTION": ["LIMIT", "MARKET"],
        "CLOSING_AUCTION_LIMIT": ["LIMIT"],
        "POST_CLOSE": ["MARKET"],
    }
    option = an_instrument(segment=Segment.FO, kind=InstrumentKind.OPTION)
    seen = permissions(option, SessionClass.FO, day)
    assert (seen["products"], list(seen["phases"])) == (["MIS", "NRML"], ["CONTINUOUS"])
    index = permissions(an_instrument(kind=InstrumentKind.INDEX), SessionClass.CASH, day)
    assert (index["products"], index["phases"]) == ([], {})


async def test_the_instrument_list_carries_class_products_and_phases(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/instruments", params={"q": "NIFTYBEES"})
    (etf,) = [i for i in answer.json()["instruments"] if i["instrument_id"] == "NSE:NIFTYBEES"]
    assert etf["session_class"] == "CASH" and "CLOSING_AUCTION" not in etf["phases"]
    assert etf["phases"]["POST_CLOSE"] == ["MARKET"]
