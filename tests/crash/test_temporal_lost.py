"""Temporal loses its memory: its database is deleted under open orders, a workflow is terminated by hand.

The journals know every order, so each goes on: a cancel is answered truthfully with Temporal stopped, and
every acknowledged order ends as it should when Temporal is back with nothing in it.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from temporalio.client import Client as Temporal

from domain.money import paise, rupees
from exchange.simulator.control import ask
from exchange.simulator.history import MessageKind
from tests.support.clients import Client, Request
from tests.support.eventually import eventually
from tests.support.market import Market
from workflow_api.connection import connect_operations
from workflow_api.contracts import order_workflow_id
from workflow_api.payloads import DATA_CONVERTER

CLIENT = "DEMO0045"
BELOW = 65
"""Ticks below yesterday's close: out of the quotes' reach, not of the flow's."""


@pytest.fixture
def client(market: Market) -> Iterator[Client]:
    with httpx.Client(base_url=market.api_url, timeout=30) as http:
        signed_in = Client(CLIENT, http)
        signed_in.sign_in()
        yield signed_in


def rows(market: Market, query: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row, autocommit=True) as conn:
        found = conn.execute(query.encode(), values)
        return found.fetchall() if found.description else []


def resting(client: Client, low: str) -> Request:
    order = client.place(instrument_id="NSE:TCS", order_type="LIMIT", price=low, quantity=2)
    stands(client, order, "OPEN")
    return order


def half_filled(market: Market, client: Client) -> Request:
    """Ten shares wanted, three sold to it."""
    found = client.http.get("/api/v1/instruments", params={"q": "NSE:SBIN"}).json()["instruments"]
    listed = next(row for row in found if row["instrument_id"] == "NSE:SBIN")
    price = rupees(paise(listed["previous_close"]) - BELOW * paise(listed["tick_size"]))
    order = client.place(instrument_id="NSE:SBIN", order_type="LIMIT", price=price, quantity=10)
    stands(client, order, "OPEN")
    event = [MessageKind.EXECUTION.value, 1, 3, -BELOW, "BUY"]
    ask(market.settings.data_dir, "NSE", verb="flow", symbol="SBIN", events=[event])
    stands(client, order, "PARTIALLY_FILLED")
    ask(market.settings.data_dir, "NSE", verb="end_flow", symbol="SBIN")
    return order


def stands(client: Client, order: Request, status: str, within: float = 30) -> None:
    until(lambda: client.status(order) == status, within)


def until(holds: Callable[[], bool], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cancel(client: Client, order: Request) -> tuple[int, str | None]:
    answer = client.http.delete(f"/api/v1/orders/{order.order_id}")
    return answer.status_code, answer.json().get("code")


def forget_everything(market: Market) -> None:
    """Temporal is stopped and its database deleted."""
    market.process("temporal").stop()
    for path in Path(market.settings.data_dir / "temporal").glob("temporal.db*"):
        path.unlink()


def bound(market: Market) -> int:
    """What is still blocked for the client's orders."""
    query = "SELECT blocked_margin FROM margin_ledger JOIN users USING (user_id) WHERE client_id = %s"
    return int(rows(market, query, CLIENT)[0]["blocked_margin"])


def test_every_open_order_outlives_temporal_s_database(market: Market, client: Client, low: str) -> None:
    taken_back, kept, half = resting(client, low), resting(client, low), half_filled(market, client)
    worker = market.process("order-worker-0")
    worker.stop()
    unstarted = client.place(instrument_id="NSE:TCS", quantity=1)
    ungated = client.place(instrument_id="NSE:TCS", quantity=1)
    never = client.place(instrument_id="NSE:TCS", quantity=1)
    # As a worker leaves it that started the story just before Temporal's database went.
    rows(
        market,
        "UPDATE order_intake SET claimed_by = 'order-worker-0', claimed_at_ns = 1, started_at_ns = 1"
        " WHERE order_id = %s",
        int(ungated.order_id),
    )
    forget_everything(market)
    try:
        assert cancel(client, taken_back) == (202, None)
        assert cancel(client, never) == (202, None)
        assert client.status(never) == "CANCELLED"
        stands(client, taken_back, "CANCELLED")
        assert cancel(client, taken_back) == (409, "ORDER_ALREADY_FINAL")
    finally:
        market.heal()
    stands(client, unstarted, "EXECUTED")
    stands(client, ungated, "EXECUTED")
    answer = client.http.put(f"/api/v1/orders/{kept.order_id}", json={"quantity": 3})
    assert answer.status_code == 202, answer.text
    until(lambda: client.order(kept)["quantity"] == 3)
    for order in (kept, half):
        assert cancel(client, order) == (202, None)
        stands(client, order, "CANCELLED")
    assert client.order(half)["filled_quantity"] == 3
    until(lambda: bound(market) == 0)


async def test_the_clock_s_work_is_set_up_again(market: Market) -> None:
    forget_everything(market)
    market.heal()
    temporal = await connect_operations(market.settings, "test")

    async def all_there() -> bool:
        names = {one.id async for one in await temporal.list_schedules()}
        return {"reconciliation", "day-roll"} <= names

    await eventually(all_there, within=60)


async def test_a_story_that_was_terminated_by_hand_is_told_on(
    market: Market, client: Client, low: str
) -> None:
    """Its report of the cancel finds it again, and so does the sweep."""
    settings = market.settings
    temporal = await Temporal.connect(
        settings.temporal_target, namespace=settings.temporal_namespace, data_converter=DATA_CONVERTER
    )
    order, other = resting(client, low), resting(client, low)
    for one in (order, other):
        await temporal.get_workflow_handle(order_workflow_id(int(one.order_id))).terminate("by hand")
    assert cancel(client, order) == (202, None)
    stands(client, order, "CANCELLED")

    async def runs_again() -> bool:
        story = temporal.get_workflow_handle(order_workflow_id(int(other.order_id)))
        told = await story.describe()
        return told.status is not None and told.status.name == "RUNNING"

    await eventually(runs_again, within=30)
    assert cancel(client, other) == (202, None)
    stands(client, other, "CANCELLED")
    until(lambda: bound(market) == 0)


async def test_whoever_asks_a_lost_story_begins_it_again_without_the_sweep(
    market: Market, client: Client, low: str
) -> None:
    """A change asked of it, and a report that is told to it."""
    settings = market.settings
    temporal = await Temporal.connect(
        settings.temporal_target, namespace=settings.temporal_namespace, data_converter=DATA_CONVERTER
    )
    order = resting(client, low)
    market.process("operations").stop()
    story = temporal.get_workflow_handle(order_workflow_id(int(order.order_id)))
    await story.terminate("by hand")
    answer = client.http.put(f"/api/v1/orders/{order.order_id}", json={"quantity": 3})
    assert answer.status_code == 202, answer.text
    until(lambda: client.order(order)["quantity"] == 3)
    await story.terminate("by hand")
    assert cancel(client, order) == (202, None)
    stands(client, order, "CANCELLED")
    until(lambda: bound(market) == 0)
    assert (await story.result()).endswith("The order is CANCELLED.")


def test_a_cancel_straight_after_the_202_is_answered_and_ends_the_order(
    market: Market, client: Client, low: str
) -> None:
    for _ in range(20):
        order = client.place(instrument_id="NSE:TCS", order_type="LIMIT", price=low, quantity=2)
        assert cancel(client, order) == (202, None)
        stands(client, order, "CANCELLED")
        assert cancel(client, order) == (409, "ORDER_ALREADY_FINAL")
    until(lambda: bound(market) == 0)
