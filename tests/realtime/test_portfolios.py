"""The portfolio on the stream and over HTTP: the same figures within a second, and nobody else's."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.app import create_app
from bus.ticks import ALIVE
from config.settings import Settings
from domain.money import paise, rupees
from domain.orders import Product, Side
from storage.database import Database
from tests.realtime.test_ticks import INFY, RELIANCE, a_tick, publish, state
from tests.support.books import an_account, book
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, Told, a_token, plain, socket_io

PARTS = {"holdings": "quantity", "positions": "net_quantity"}
TOKENS = {"NSE:RELIANCE": RELIANCE.token, "NSE:INFY": INFY.token}


@pytest.fixture(scope="module")
async def http(servers: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The API of these servers; it answers the gateways, too."""
    application = create_app(servers)
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
            yield client


@pytest.fixture(autouse=True)
async def a_distributor_at_work(redis: Redis) -> AsyncIterator[None]:
    await redis.set(ALIVE, b"")
    yield
    await redis.delete(ALIVE)


def reckoned(told: Told) -> dict[str, Any] | None:
    """What a client makes of all it was told: the GETs' answers, if it reckons right."""
    if not told.of("portfolio"):
        return None
    newest, prices = told.of("portfolio")[-1], state(told)
    shown: dict[str, Any] = {"margins": newest["margins"]}
    for part, quantity in PARTS.items():
        shown[part] = []
        for row in newest[part]:
            price = prices.get(row["instrument_id"], {"ltp": None, "previous_close": None, "stale": None})
            ltp = paise(f"{price['ltp']:.2f}") if price["ltp"] is not None else None
            unrealized = None if ltp is None else rupees(row[quantity] * ltp - paise(row["cost"]))
            close = price["previous_close"]
            shown[part].append(
                row
                | {
                    "ltp": None if ltp is None else rupees(ltp),
                    "previous_close": None if close is None else f"{close:.2f}",
                    "stale": price["stale"],
                    "unrealized_pnl": unrealized,
                }
            )
    return shown


def reckons(told: Told, asked: dict[str, Any]) -> bool:
    return reckoned(told) == asked


async def answered(http: httpx.AsyncClient, token: str) -> dict[str, Any]:
    """What the three GETs say."""
    headers = {"Authorization": f"Bearer {token}"}
    path = "/api/v1/portfolio"
    margins, *parts = [await http.get(f"{path}/{name}", headers=headers) for name in ("margins", *PARTS)]
    found: dict[str, Any] = {"margins": margins.json()}
    for part in parts:
        found |= part.json()
    return found


async def test_a_client_that_reckons_itself_has_within_a_second_what_the_api_answers(
    gateway: GatewayProcess, database: Database, redis: Redis, http: httpx.AsyncClient
) -> None:
    rng = random.Random(11)
    user = await an_account(database)
    token = a_token(gateway.settings, user)
    await book(database, user, Product.CNC, Side.BUY, 100, 2400_00, days_ago=3)
    await publish(redis, a_tick(RELIANCE.token), a_tick(INFY.token, ltp=150_000, previous_close=149_000))
    async with socket_io(gateway, token) as client, plain(gateway) as frames:
        await frames.ask("auth", token=token)
        assert await client.ask("subscribe_portfolio", {}) == {"ok": True}
        assert (await frames.ask("subscribe_portfolio"))["ok"]
        for _ in range(12):
            instrument_id = rng.choice(list(TOKENS))
            product, side = rng.choice([Product.MIS, Product.NRML]), rng.choice(list(Side))
            if rng.random() < 0.3:
                instrument_id, product, side = "NSE:RELIANCE", Product.CNC, rng.choice(list(Side))
            quantity, price = rng.randint(1, 8), rng.randint(2300_00, 2500_00)
            await book(database, user, product, side, quantity, price, instrument_id=instrument_id)
            await publish(redis, a_tick(TOKENS[instrument_id], ltp=rng.randint(2300_00, 2500_00)))
            asked = await answered(http, token)
            for told in (client, frames):
                await eventually(partial(reckons, told, asked), within=1, every=0.02)
        assert asked["holdings"] and len(asked["positions"]) > 1
        versions = [frame["version"] for frame in client.of("portfolio")]
        assert versions == sorted(set(versions)), "newer ones only, each once"


async def test_a_price_that_nobody_knows_is_null_and_one_whose_line_is_silent_is_stale(
    gateway: GatewayProcess, database: Database, redis: Redis, http: httpx.AsyncClient
) -> None:
    user = await an_account(database)
    token = a_token(gateway.settings, user)
    await book(database, user, Product.MIS, Side.SELL, 5, 1500_00, instrument_id="NSE:INFY")
    await publish(redis, a_tick(INFY.token, ltp=1490_00, stale=1))
    (position,) = (await answered(http, token))["positions"]
    assert (position["ltp"], position["stale"], position["unrealized_pnl"]) == ("1490.00", True, "50.00")
    await publish(redis, a_tick(INFY.token, ltp=0))
    (position,) = (await answered(http, token))["positions"]
    assert (position["ltp"], position["stale"], position["unrealized_pnl"]) == (None, None, None)
    await publish(redis, a_tick(INFY.token, ltp=1490_00))
    await redis.delete(ALIVE)
    (position,) = (await answered(http, token))["positions"]
    assert position["stale"] is True, "the distributor is away"


async def test_a_portfolio_is_told_to_its_owner_while_he_watches_and_to_nobody_else(
    gateway: GatewayProcess, database: Database, redis: Redis, http: httpx.AsyncClient
) -> None:
    user, other = await an_account(database), await an_account(database)
    async with (
        socket_io(gateway, a_token(gateway.settings, user)) as owner,
        socket_io(gateway, a_token(gateway.settings, user)) as looks_away,
        socket_io(gateway, a_token(gateway.settings, other)) as stranger,
    ):
        for client in (owner, stranger):
            await client.ask("subscribe_portfolio", {})
            await eventually(lambda client=client: client.of("portfolio"))  # type: ignore[misc]
        await looks_away.ask("subscribe_portfolio", {})
        await eventually(lambda: looks_away.of("portfolio"))
        await looks_away.ask("unsubscribe_portfolio", {})
        await book(database, user, Product.MIS, Side.BUY, 3, 2400_00)
        told = await eventually(lambda: owner.of("portfolio")[1:], within=1)
        assert [row["net_quantity"] for row in told[0]["positions"]] == [3]
        await asyncio.sleep(0.5)
        assert len(stranger.of("portfolio")) == len(looks_away.of("portfolio")) == 1


def bought(told: Told) -> int:
    """By the newest frame."""
    return sum(row["net_quantity"] for row in told.of("portfolio")[-1]["positions"])


async def test_what_is_lost_on_the_way_is_told_all_the_same(
    gateway: GatewayProcess, database: Database, redis_admin: Redis, http: httpx.AsyncClient
) -> None:
    user = await an_account(database)
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await client.ask("subscribe_portfolio", {})
        await eventually(lambda: client.of("portfolio"))
        for number in range(1, 4):
            await redis_admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
            await book(database, user, Product.MIS, Side.BUY, 1, 2400_00)
            began = time.monotonic()
            await eventually(lambda number=number: bought(client) == number)  # type: ignore[misc]
            assert time.monotonic() - began < 5
        assert client.reasons == []
