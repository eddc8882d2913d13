"""What support reads in Temporal: an order's history says in sentences what the exchange said of it, and the
list of workflows is one of orders."""

import re
from collections.abc import Iterator

import httpx
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Temporal

from tests.support.clients import Client, Request, lower_band
from tests.support.eventually import eventually
from tests.support.market import Market
from workflow_api import contracts
from workflow_api.connection import connect_operations
from workflow_api.contracts import order_workflow_id
from workflow_api.payloads import DATA_CONVERTER

FILLED = re.compile(r"Filled (\d+) @ \d+\.\d\d \(\w+\), (\d+) left")


@pytest.fixture
def client(market: Market) -> Iterator[Client]:
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        signed_in = Client("DEMO0048", http)
        signed_in.sign_in()
        yield signed_in


async def orders_namespace(market: Market) -> Temporal:
    settings = market.settings
    return await Temporal.connect(
        settings.temporal_target, namespace=settings.temporal_namespace, data_converter=DATA_CONVERTER
    )


async def signalled(market: Market, request: Request) -> list[str]:
    """Every sentence that was signalled to the order's story by its end, in order."""
    temporal = await orders_namespace(market)
    story = temporal.get_workflow_handle(order_workflow_id(int(request.order_id)))
    await story.result()
    sentences: list[str] = []
    async for event in story.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            told = event.workflow_execution_signaled_event_attributes.input.payloads
            sentences += (await DATA_CONVERTER.decode(told, [list[str]]))[0]
    # A report that is not booked in time is told again.
    return list(dict.fromkeys(sentences))


async def test_an_order_s_history_says_in_sentences_what_the_exchange_said(
    market: Market, client: Client
) -> None:
    low = lower_band(market.api_url, "NSE:TCS")
    order = client.place(instrument_id="NSE:TCS", quantity=10, order_type="LIMIT", price=low)
    other = client.place(instrument_id="NSE:TCS", quantity=10, order_type="LIMIT", price=low)
    await eventually(lambda: client.status(order) == "OPEN", within=20)
    await eventually(lambda: client.status(other) == "OPEN", within=20)
    client.http.put(f"/api/v1/orders/{order.order_id}", json={"quantity": 20}).raise_for_status()
    await eventually(lambda: client.order(order)["quantity"] == 20, within=20)
    found = client.http.get("/api/v1/instruments", params={"q": "NSE:TCS"}).json()["instruments"]
    dear = {"price": found[0]["upper_band"]}
    client.http.put(f"/api/v1/orders/{order.order_id}", json=dear).raise_for_status()
    client.http.delete(f"/api/v1/orders/{other.order_id}").raise_for_status()
    await eventually(lambda: client.status(order) == "EXECUTED", within=20)
    await eventually(lambda: client.status(other) == "CANCELLED", within=20)
    told, of_other = await signalled(market, order), await signalled(market, other)
    assert not [said for said in told + of_other if "{" in said or "'" in said]
    replaced = [said for said in told if said.startswith("Replaced: ")]
    assert f"Replaced: 20 @ {low}, 20 left" in replaced[0], told
    fills = [match for said in told if (match := FILLED.fullmatch(said))]
    assert sum(int(fill[1]) for fill in fills) == 20, told
    assert int(fills[-1][2]) == 0
    assert of_other[-1].startswith("Cancelled as asked, 10 not filled"), of_other


async def test_the_list_of_workflows_is_one_of_orders(market: Market, client: Client) -> None:
    order = client.place(instrument_id="NSE:TCS", quantity=1)
    await eventually(lambda: client.status(order) == "EXECUTED", within=20)
    operations = await connect_operations(market.settings, "test")

    async def reconciled() -> bool:
        return bool((await operations.count_workflows("WorkflowType = 'ReconciliationWorkflow'")).count)

    await eventually(reconciled, within=60)
    temporal = await orders_namespace(market)

    async def listed() -> set[str]:
        return {one.workflow_type async for one in temporal.list_workflows()}

    await eventually(listed, within=20)
    assert await listed() <= {contracts.ORDER_WORKFLOW, contracts.LATE_REPORTS_WORKFLOW}
    assert [one async for one in await temporal.list_schedules()] == []
