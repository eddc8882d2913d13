"""The exchange takes a trade back after its order's story is over, and puts another right."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from redis.asyncio import Redis
from temporalio.client import Client as Temporal

from bus.order_updates import channel
from exchange.simulator.control import ask
from tests.support.clients import Client, Request
from tests.support.eventually import eventually
from tests.support.evidence import collect
from tests.support.invariants import broken
from tests.support.market import Market
from workflow_api.contracts import late_reports_id, order_workflow_id


@pytest.fixture
def client(market: Market) -> Iterator[Client]:
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        signed_in = Client("DEMO0046", http)
        signed_in.sign_in()
        yield signed_in


async def executed(market: Market, client: Client) -> Request:
    """Its workflow has ended."""
    request = client.place(instrument_id="NSE:TCS", quantity=3)
    assert await eventually(lambda: client.status(request) == "EXECUTED", within=20)
    settings = market.settings
    temporal = await Temporal.connect(settings.temporal_target, namespace=settings.temporal_namespace)
    await temporal.get_workflow_handle(order_workflow_id(int(request.order_id))).result()
    return request


def events(client: Client, request: Request) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = client.order(request)["history"]
    return history


async def test_a_bust_and_a_correction_after_the_story_are_booked_told_and_agree_with_the_file(
    market: Market, client: Client
) -> None:
    busted, corrected = await executed(market, client), await executed(market, client)
    trades = {r.order_id: [e for e in events(client, r) if "last_price" in e] for r in client.requests}
    with psycopg.connect(market.settings.postgres_dsn) as conn:
        row = conn.execute("SELECT user_id FROM users WHERE client_id = %s", (client.client_id,)).fetchone()
    assert row is not None
    redis = Redis.from_url(market.settings.redis_dsn)
    async with redis, redis.pubsub() as stream:
        await stream.subscribe(channel(row[0]))
        for trade in trades[busted.order_id]:
            ask(market.settings.data_dir, "NSE", verb="bust", exec_id=trade["exec_id"])
        for trade in trades[corrected.order_id]:
            dearer = int(trade["last_price"].replace(".", "")) + 1_000
            command = {"exec_id": trade["exec_id"], "quantity": trade["last_quantity"], "price": dearer}
            ask(market.settings.data_dir, "NSE", verb="correct", **command)
        told: list[tuple[str, str]] = []

        async def all_told() -> bool:
            message = await stream.get_message(ignore_subscribe_messages=True, timeout=0.2)
            if message:
                update = msgspec.json.decode(message["data"])
                told.append((update["order_id"], update["event"]))
            last = {(busted.order_id, "LAST_TRADE_CANCELLED"), (corrected.order_id, "TRADE_CORRECTED")}
            return last <= set(told)

        assert await eventually(all_told, within=20)
    assert client.status(busted) == "CANCELLED" and client.status(corrected) == "EXECUTED"
    assert client.order(busted)["filled_quantity"] == 0

    def agreed() -> bool:
        return broken(collect(market.settings, client.requests)) == []

    await eventually(agreed, within=30)
    assert broken(collect(market.settings, client.requests)) == []
    settings = market.settings
    temporal = await Temporal.connect(settings.temporal_target, namespace=settings.temporal_namespace)
    said = await temporal.get_workflow_handle(late_reports_id(int(busted.order_id))).result()
    assert "back" in said
