"""What a change is refused for is told as whole as of a new order: field, limit and nearest legal value.

The order's own workflow decides, behind the API; the same terms, asked as a dry run of an account that has
the same means and no order yet, are the oracle.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner

from api.app import create_app
from config.settings import Settings
from config.tokens import issue
from domain.orders import PlacedOrder, Product, Side
from domain.risk_limits import RiskLimits
from domain.time import trade_date
from storage.database import Database
from storage.risk import risk_limits
from tests.support.clients import an_order
from tests.support.desk import A_WORD
from tests.support.eventually import eventually
from tests.support.stories import EXCHANGE, Stories, exchange_listed
from workflow_api.payloads import DATA_CONVERTER

RICH = 10_000_000_00
WIDE = RiskLimits(10**14, 10**8, 10**14)


@pytest.fixture(scope="module")
async def app(servers: Settings, database: Database) -> AsyncIterator[FastAPI]:
    async with exchange_listed(database):
        application = create_app(servers)
        async with application.router.lifespan_context(application):
            yield application


@pytest.fixture
async def stories(database: Database, redis: Redis, servers: Settings) -> Stories:
    target, namespace = servers.temporal_target, servers.temporal_namespace
    return Stories(
        database, redis, await Client.connect(target, namespace=namespace, data_converter=DATA_CONVERTER)
    )


@dataclass
class Case:
    """BUY 10 at 2450.00 delivery, changed; then a change of it."""

    change: dict[str, Any]
    order: dict[str, Any] = field(default_factory=dict)
    cash: int = RICH
    shares: int = 0
    limits: RiskLimits = WIDE
    beside: dict[str, Any] | None = None
    """Another order of the same account."""


MIS, SELL = {"product": Product.MIS}, {"side": Side.SELL}
CASES = {
    "PRICE_NOT_TICK_MULTIPLE": Case({"price": "2450.03"}),
    "PRICE_OUT_OF_BAND": Case({"price": "2800.00"}),
    "QUANTITY_ABOVE_FREEZE": Case({"quantity": 15001}),
    "MARGIN_INSUFFICIENT": Case({"quantity": 20}, cash=30_000_00),
    "HOLDINGS_INSUFFICIENT": Case({"quantity": 20}, SELL, shares=15),
    "ORDER_VALUE_LIMIT_EXCEEDED": Case({"quantity": 30}, limits=RiskLimits(10**14, 10**8, 50_000_00)),
    "POSITION_LIMIT_EXCEEDED": Case({"quantity": 30}, MIS, limits=RiskLimits(10**14, 15, 10**14)),
    "EXPOSURE_LIMIT_EXCEEDED": Case({"quantity": 30}, MIS, limits=RiskLimits(50_000_00, 10**8, 10**14)),
    "SELF_TRADE_PREVENTED": Case({"price": "2470.00"}, shares=10, beside={**SELL, "price": 2460_00}),
}


async def an_account(stories: Stories, case: Case) -> int:
    user_id = await stories.client(case.cash)
    async with stories.database.transaction() as conn:
        await risk_limits.set_limits(conn, user_id, trade_date(time.time_ns()), case.limits, A_WORD)
        await conn.execute(
            "INSERT INTO holdings (user_id, instrument_id, quantity, cost) VALUES (%s, %s, %s, 0)",
            (user_id, f"{EXCHANGE}:RELIANCE", case.shares),
        )
    return user_id


def signed_in(http: httpx.AsyncClient, servers: Settings, user_id: int) -> None:
    token, _ = issue(servers, user_id, f"TEST{user_id}", "CLIENT", int(time.time()))
    http.headers["Authorization"] = f"Bearer {token}"


async def submitted(stories: Stories, user_id: int, **terms: Any) -> PlacedOrder:
    """In the outbox."""
    placed = await stories.place(user_id, **terms)
    await stories.start(placed)
    query = "SELECT 1 FROM exchange_outbox WHERE order_id = %s"

    async def in_the_outbox() -> bool:
        return bool(await stories.rows(query, placed.order_id))

    assert await eventually(in_the_outbox)
    return placed


def told(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: failure.get(name) for name in ("code", "field", "limit", "nearest")}


@pytest.mark.parametrize("code", CASES)
async def test_a_refused_change_tells_what_a_dry_run_of_the_changed_order_tells(
    http: httpx.AsyncClient, servers: Settings, stories: Stories, code: str
) -> None:
    case = CASES[code]
    user_id, twin = await an_account(stories, case), await an_account(stories, case)
    async with stories.worker(UnsandboxedWorkflowRunner()):
        if case.beside is not None:
            for account in (user_id, twin):
                await submitted(stories, account, **case.beside)
        placed = await submitted(stories, user_id, **case.order)
        signed_in(http, servers, user_id)
        refused = await http.put(f"/api/v1/orders/{placed.order_id}", json=case.change)
    signed_in(http, servers, twin)
    terms = placed.terms
    asked = {
        "instrument_id": terms.instrument_id,
        "order_type": terms.order_type,
        "transaction_type": terms.side,
        "product": terms.product,
        "quantity": 10,
        "price": "2450.00",
    }
    tried = await http.post(
        "/api/v1/orders", params={"dry_run": "true"}, json=an_order(**(asked | case.change))
    )
    (expected,) = [one for one in tried.json()["failures"] if one["code"] == code]
    problem = refused.json()
    assert refused.status_code >= 400, problem
    assert told(problem) == told(expected)
    assert told(problem["failures"][0]) == told(expected)
    assert expected["limit"] in problem["detail"]
