"""A dry run tells everything that a real order would meet at once, and leaves no trace."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from psycopg import sql
from redis.asyncio import Redis

from bus.tick_bus import Publisher
from bus.ticks import ALIVE, TICK, group_of
from domain.money import rupees
from domain.reports import MarketPhase, SessionPhase
from domain.sessions import SessionClass
from storage.database import Database
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.market.instruments import load_instruments
from tests.support.clients import an_order, sign_in
from tests.support.eventually import eventually

CLIENT = "DEMO0047"
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "price": "1690.00", "quantity": 145}
"""Rs 2,45,050.00, the turnover of the oracle in market-rules section 6."""


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, CLIENT)
    return http


@pytest.fixture(scope="module", autouse=True)
async def nothing_announced_afterwards(database: Database) -> AsyncIterator[None]:
    yield
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM market_phases WHERE exchange = 'NSE'")


async def enter(database: Database, phase: MarketPhase) -> None:
    """NSE's cash segment."""
    now = time.time_ns()
    announced = [SessionPhase("NSE", "CASH", phase, now, c) for c in (SessionClass.CAS, SessionClass.CASH)]
    arrivals = [Arrival("NSE", "dry-run", now + n, told, now) for n, told in enumerate(announced)]
    async with database.transaction() as conn:
        await write(conn, [], arrivals, now)


async def tried(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/orders", params={"dry_run": "true"}, json=an_order(**changes))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def codes(client: httpx.AsyncClient, **changes: Any) -> list[str]:
    return [failure["code"] for failure in (await tried(client, **changes))["failures"]]


async def settled(client: httpx.AsyncClient, *expected: str, **changes: Any) -> None:
    """The API's copy of the phases follows soon."""

    async def as_expected() -> bool:
        assert (told := await codes(client, **changes)) == list(expected), told
        return True

    await eventually(as_expected)


async def counted(database: Database, redis: Redis) -> dict[str, Any]:
    """Rows of every table that the application may read, the client's ledger row, Redis' number of keys."""
    async with database.reading() as conn:
        tables = await (
            await conn.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
                "AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
            )
        ).fetchall()
        found: dict[str, Any] = {}
        for name in (row["tablename"] for row in tables):
            query = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(name))
            row = await (await conn.execute(query)).fetchone()
            assert row is not None
            found[name] = row["n"]
        ledger = "SELECT l.* FROM margin_ledger l JOIN users USING (user_id) WHERE client_id = %s"
        found["ledger"] = await (await conn.execute(ledger, (CLIENT,))).fetchone()
    found["redis"] = await redis.dbsize()
    return found


async def test_what_passes_tells_what_it_blocks_and_costs(
    client: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    await enter(database, MarketPhase.CONTINUOUS)
    await settled(client, **LIMIT)
    before = await counted(database, redis)
    told = await tried(client, **LIMIT)
    assert await counted(database, redis) == before
    assert (told["failures"], told["release_phases"]) == ([], [])
    assert (told["leaves_as"], told["leaves_at"]) == ("LIMIT", "1690.00")
    assert (told["blocked_margin"], told["value"]) == ("245050.00", "245050.00")
    assert told["available_cash"] == "1000000.00"
    assert told["charges"] == {
        "brokerage": "0.00",
        "stt": "245.00",
        "exchange": "7.28",
        "ipft": "0.25",
        "sebi": "0.25",
        "stamp": "36.76",
        "gst": "1.35",
        "total": "290.89",
        "depository": "0.00",
    }
    intraday = await tried(client, product="MIS", **LIMIT)
    assert intraday["blocked_margin"] == "49010.00"


async def test_every_failure_comes_at_once_with_the_nearest_legal_value(
    client: httpx.AsyncClient, database: Database
) -> None:
    await enter(database, MarketPhase.HALTED)
    wrong = {"order_type": "LIMIT", "price": "1650.05", "quantity": 40_000}
    await settled(
        client,
        "QUANTITY_ABOVE_FREEZE",
        "PRICE_NOT_TICK_MULTIPLE",
        "MARKET_CLOSED",
        "ORDER_VALUE_LIMIT_EXCEEDED",
        "MARGIN_INSUFFICIENT",
        **wrong,
    )
    told = await tried(client, **wrong)
    freeze, tick, closed, value, margin = told["failures"]
    assert (freeze["field"], freeze["nearest"]) == ("quantity", "15000")
    assert (tick["field"], tick["limit"], tick["nearest"]) == ("price", "0.10", "1650.10")
    assert closed["limit"] == "HALTED"
    assert value["nearest"] == "15000", "a quantity that its own gate alone would take is no help"
    assert margin["limit"] == "1000000.00"
    assert all(failure["detail"] for failure in told["failures"])


async def test_what_cannot_be_reckoned_says_why_and_has_no_figures(
    client: httpx.AsyncClient, database: Database
) -> None:
    await enter(database, MarketPhase.CONTINUOUS)
    await settled(client, **LIMIT)
    told = await tried(client, order_type="LIMIT", quantity=0)
    assert [failure["code"] for failure in told["failures"]] == ["PRICE_REQUIRED", "QUANTITY_NOT_POSITIVE"]
    assert (told["blocked_margin"], told["charges"], told["leaves_as"]) == (None, None, None)
    assert await codes(client, instrument_id="NSE:NOSUCH") == ["INSTRUMENT_UNKNOWN"]
    # Nobody has told the last price here.
    assert await codes(client, order_type="MARKET") == ["PRICE_UNKNOWN"]


async def test_a_short_below_the_market_blocks_by_the_market(
    client: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    await enter(database, MarketPhase.CONTINUOUS)
    await settled(client, **LIMIT)
    short = {"instrument_id": "NSE:SBIN", "transaction_type": "SELL", "product": "MIS", "quantity": 10}
    listed = (await load_instruments(database))["NSE:SBIN"]
    short |= {"order_type": "LIMIT", "price": rupees(listed.lower_band)}

    async def blocked() -> str:
        told = await tried(client, **short)
        assert (told["failures"], told["leaves_at"]) == ([], rupees(listed.lower_band))
        return str(told["blocked_margin"])

    assert await blocked() == rupees(2 * listed.upper_band), "nobody has told the last price"
    tick, publisher = np.zeros(1, TICK), Publisher(redis)
    tick["token"], tick["ltp"] = listed.token, listed.previous_close
    await publisher.beat()
    await publisher.publish({group_of("NSE", listed.token): tick})
    assert await blocked() == rupees(2 * listed.previous_close)
    await redis.delete(ALIVE)
    assert await blocked() == rupees(2 * listed.upper_band)


async def test_a_sale_counts_the_shares_that_are_free(client: httpx.AsyncClient, database: Database) -> None:
    await enter(database, MarketPhase.CONTINUOUS)
    await settled(client, **LIMIT)
    sale = {"transaction_type": "SELL", "order_type": "LIMIT", "price": "1690.00"}
    held = await tried(client, quantity=10, **sale)
    assert (held["failures"], held["blocked_margin"]) == ([], "0.00")
    assert held["charges"]["depository"] == "15.34"
    (failure,) = (await tried(client, quantity=9_000, **sale))["failures"]
    assert (failure["code"], failure["field"]) == ("HOLDINGS_INSUFFICIENT", "quantity")
    assert int(failure["nearest"]) < 9_000


async def test_the_key_of_a_dry_run_is_still_free(client: httpx.AsyncClient) -> None:
    body = an_order()
    tried_first = await client.post("/api/v1/orders", params={"dry_run": "true"}, json=body)
    placed = await client.post("/api/v1/orders", json=body | {"quantity": 11})
    assert (tried_first.status_code, placed.status_code) == (200, 202)
