"""Records the workflow history of an order of each outcome, on a whole market: what the replay test replays.

    python -m tests.support.record_histories [OUTCOME ...]

All, unless some are named. Run it after a change of a workflow that its earlier histories still replay
(`workflow.patched`), and commit what it adds to tests/workflows/histories. Files are only ever added: orders
of old versions live on.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from config.settings import Settings
from exchange.simulator.control import ask
from tests.support.clients import Client, Request
from tests.support.edge import until
from tests.support.eventually import eventually
from tests.support.market import Market, free_offset
from workflow_api.contracts import late_reports_id, order_workflow_id

HISTORIES = Path(__file__).parents[1] / "workflows" / "histories"
_OF_THIS_MACHINE = {"identity", "workerVersion", "binaryChecksum"}


def executed(market: Market, client: Client) -> Request:
    return _ends(client, client.place(instrument_id="NSE:TCS", quantity=2), "EXECUTED")


def executed_intraday(market: Market, client: Client) -> Request:
    order = client.place(instrument_id="NSE:SBIN", quantity=5, product="MIS", transaction_type="SELL")
    return _ends(client, order, "EXECUTED")


def refused_for_margin(market: Market, client: Client) -> Request:
    return _ends(client, client.place(quantity=9_000), "REJECTED")


def refused_for_holdings(market: Market, client: Client) -> Request:
    """By the ledger, after the margin was blocked: the block is given back."""
    return _ends(client, client.place(quantity=14_000, transaction_type="SELL"), "REJECTED")


def cancelled(market: Market, client: Client) -> Request:
    order = _ends(client, _resting(client), "OPEN")
    client.http.delete(f"/api/v1/orders/{order.order_id}").raise_for_status()
    return _ends(client, order, "CANCELLED")


def changed(market: Market, client: Client) -> Request:
    """To twice the quantity, then cancelled."""
    order = _ends(client, _resting(client), "OPEN")
    client.http.put(f"/api/v1/orders/{order.order_id}", json={"quantity": 20}).raise_for_status()
    until(lambda: client.http.get(f"/api/v1/orders/{order.order_id}").json()["quantity"] == 20)
    client.http.delete(f"/api/v1/orders/{order.order_id}").raise_for_status()
    return _ends(client, order, "CANCELLED")


def withdrawn(market: Market, client: Client) -> Request:
    """Cancelled while it had not left."""
    with _stopped(market, "gateway"):
        order = _ends(client, _resting(client), "PENDING_OPEN")
        client.http.delete(f"/api/v1/orders/{order.order_id}").raise_for_status()
        return _ends(client, order, "CANCELLED")


def another_worker(market: Market, client: Client) -> Request:
    """Filled by a worker that did not start it."""
    order = _ends(client, _resting(client), "OPEN")
    market.process("order-worker-0").kill9()
    with _stopped(market, "order-worker-0"):
        pass
    client.http.delete(f"/api/v1/orders/{order.order_id}").raise_for_status()
    return _ends(client, order, "CANCELLED")


def begun_again(market: Market, client: Client) -> Request:
    """Its first story was lost while the order rested; the one that was begun again sees it cancelled."""
    order = _ends(client, _resting(client), "OPEN")
    asyncio.run(_lose(market.settings, order_workflow_id(int(order.order_id))))
    client.http.delete(f"/api/v1/orders/{order.order_id}").raise_for_status()
    return _ends(client, order, "CANCELLED")


def taken_back(market: Market, client: Client) -> Request:
    """The exchange takes its one trade back when its story is over."""
    order = _ends(client, client.place(instrument_id="NSE:TCS", quantity=1), "EXECUTED")
    asyncio.run(_ended(market.settings, order_workflow_id(int(order.order_id))))
    (trade,) = [told for told in client.order(order)["history"] if "last_price" in told]
    ask(market.settings.data_dir, "NSE", verb="bust", exec_id=trade["exec_id"])
    return _ends(client, order, "CANCELLED")


Story = Callable[[Market, Client], Request]
ORDERS: dict[str, Story] = {
    step.__name__: step
    for step in (
        executed,
        executed_intraday,
        refused_for_margin,
        refused_for_holdings,
        cancelled,
        changed,
        withdrawn,
        another_worker,
        begun_again,
    )
}
LATE_REPORTS: dict[str, Story] = {taken_back.__name__: taken_back}
"""Of these orders the workflow that books what came afterwards."""


def main(outcomes: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="hundi-histories-") as name:
        directory = Path(name)
        settings = Settings(data_dir=directory, port_offset=free_offset())
        with (
            Market.opened(settings, directory) as market,
            httpx.Client(base_url=market.api_url, timeout=20) as http,
        ):
            client = Client("DEMO0091", http)
            client.sign_in()
            stories = ORDERS | LATE_REPORTS
            orders = {
                outcome: int(stories[outcome](market, client).order_id) for outcome in outcomes or stories
            }
            asyncio.run(_save(settings, orders))


async def _save(settings: Settings, orders: dict[str, int]) -> None:
    for outcome, order_id in orders.items():
        workflow_id = late_reports_id if outcome in LATE_REPORTS else order_workflow_id
        history = (await _ended(settings, workflow_id(order_id))).to_json()
        number = 1 + len(list(HISTORIES.glob(f"{outcome}-*.json")))
        path = HISTORIES / f"{outcome}-{number}.json"
        path.write_text(json.dumps(_portable(json.loads(history)), indent=1) + "\n")
        print(path.name)


async def _lose(settings: Settings, workflow_id: str) -> None:
    temporal = await Temporal.connect(settings.temporal_target, namespace=settings.temporal_namespace)
    handle = temporal.get_workflow_handle(workflow_id)
    await handle.terminate("its story is lost")

    async def again() -> bool:
        return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING

    await eventually(again, within=30)


async def _ended(settings: Settings, workflow_id: str) -> WorkflowHistory:
    """What it did, once it has begun and ended."""
    temporal = await Temporal.connect(settings.temporal_target, namespace=settings.temporal_namespace)
    handle = temporal.get_workflow_handle(workflow_id)

    async def ended() -> bool:
        try:
            return await handle.result() is not None
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False

    await eventually(ended, within=30)
    return await handle.fetch_history()


def _portable(value: Any) -> Any:
    """Without the names of the machine it was recorded on."""
    if isinstance(value, dict):
        if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
            value = value | {"name": "sticky"}
        return {key: _portable(item) for key, item in value.items() if key not in _OF_THIS_MACHINE}
    return [_portable(item) for item in value] if isinstance(value, list) else value


def _resting(client: Client) -> Request:
    found = client.http.get("/api/v1/instruments", params={"q": "NSE:TCS"}).json()["instruments"]
    return client.place(instrument_id="NSE:TCS", order_type="LIMIT", price=found[0]["lower_band"])


def _ends(client: Client, request: Request, status: str) -> Request:
    until(lambda: client.status(request) == status)
    return request


@contextmanager
def _stopped(market: Market, name: str) -> Iterator[None]:
    process = market.process(name)
    process.stop()
    yield
    process.start()
    process.wait_healthy()


if __name__ == "__main__":
    main(sys.argv[1:])
