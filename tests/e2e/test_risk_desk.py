"""The risk desk on the running market: a freeze lands among racing clients; positions are wound down."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from temporalio.client import Client, ScheduleActionExecutionStartWorkflow

from activities.wind_down import SquareOffPlan
from tests.support.clients import an_order, sign_in
from tests.support.desk import lift_everything
from tests.support.eventually import eventually
from tests.support.market import Market
from workflow_api import contracts
from workflow_api.connection import connect_operations

CLIENTS = 64
NANOS_A_MILLISECOND = 1_000_000
EFFECTIVE_WITHIN_MS = 1000
"""The aim is 100; the figure is printed, the bound is for a machine that does other things too."""


@pytest.fixture
async def desk(market: Market) -> AsyncIterator[httpx.AsyncClient]:
    """RISK01; whatever it froze is lifted after the test, by two people."""
    async with signed_in(market, "RISK01") as client, signed_in(market, "RISK02") as second:
        try:
            yield client
        finally:
            await lift_everything(client, second)


@asynccontextmanager
async def signed_in(market: Market, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=30) as client:
        await sign_in(client, client_id)
        yield client


def rows(market: Market, query: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
        return conn.execute(query.encode(), values).fetchall()


def user_id(market: Market, client_id: str) -> int:
    return int(rows(market, "SELECT user_id FROM users WHERE client_id = %s", client_id)[0]["user_id"])


def net(market: Market, client_id: str, instrument: str) -> int:
    found = rows(
        market,
        "SELECT buy_quantity - sell_quantity AS net FROM positions JOIN users USING (user_id)"
        " WHERE client_id = %s AND instrument_id = %s AND product = 'MIS'",
        client_id,
        instrument,
    )
    return int(found[0]["net"]) if found else 0


def margins(market: Market, client_id: str) -> dict[str, Any]:
    return rows(
        market,
        "SELECT blocked_margin, (SELECT COALESCE(sum(open_quantity * unit_margin), 0)::bigint"
        " FROM margin_holds h WHERE h.user_id = l.user_id) AS held"
        " FROM margin_ledger l JOIN users USING (user_id) WHERE client_id = %s",
        client_id,
    )[0]


async def test_a_freeze_among_64_racing_clients_holds_from_its_answer_on(
    market: Market, desk: httpx.AsyncClient
) -> None:
    """Nothing leaves later than the bound, all that waited is withdrawn, and no margin stays behind."""
    racing = True
    placed: list[str] = []

    async def race(client: httpx.AsyncClient) -> None:
        while racing:
            answer = await client.post("/api/v1/orders", json=an_order(quantity=1, product="MIS"))
            if answer.status_code == 202:
                placed.append(answer.json()["order_id"])
            else:
                assert answer.json()["code"] == "TRADING_HALTED", answer.text

    names = [f"DEMO{number:04d}" for number in range(30, 34)]
    async with httpx.AsyncClient(base_url=market.api_url, timeout=60) as shared:
        tokens = []
        for name in names:
            await sign_in(shared, name)
            tokens.append(shared.headers["Authorization"])
    limits = httpx.Limits(max_connections=1)
    clients = [
        httpx.AsyncClient(
            base_url=market.api_url, timeout=60, limits=limits, headers={"Authorization": tokens[n % 4]}
        )
        for n in range(CLIENTS)
    ]
    racers = [asyncio.create_task(race(client)) for client in clients]
    await asyncio.sleep(1)
    answer = await desk.post("/api/v1/risk/freeze", json={"scope": "all", "reason": "a test"})
    answered_ns = time.time_ns()
    assert answer.status_code == 200, answer.text
    await asyncio.sleep(0.5)
    racing = False
    await asyncio.gather(*racers)
    await asyncio.gather(*(client.aclose() for client in clients))
    ids = [int(order_id) for order_id in placed]

    def at_rest() -> bool:
        waiting = rows(
            market,
            "SELECT count(*) AS n FROM orders WHERE order_id = ANY(%s)"
            " AND status NOT IN ('EXECUTED', 'CANCELLED', 'REJECTED')",
            ids,
        )
        return bool(waiting[0]["n"] == 0)

    await eventually(at_rest, within=60)
    sent = rows(
        market,
        "SELECT max(sent_at_ns) AS last, count(sent_at_ns) AS sent, count(withdrawn_at_ns) AS withdrawn"
        " FROM exchange_outbox WHERE order_id = ANY(%s) AND kind = 'NEW'",
        ids,
    )[0]
    after_ms = (sent["last"] - answered_ns) / NANOS_A_MILLISECOND
    codes = {
        row["reject_code"]
        for row in rows(
            market,
            "SELECT DISTINCT reject_code FROM orders WHERE order_id = ANY(%s) AND status <> 'EXECUTED'",
            ids,
        )
    }
    print(
        f"{len(ids)} acknowledged, {sent['sent']} sent, {sent['withdrawn']} withdrawn;"
        f" the last left {after_ms:+.1f} ms after the answer"
    )
    assert after_ms < EFFECTIVE_WITHIN_MS
    assert "TRADING_HALTED" in codes
    nothing = {"blocked_margin": 0, "held": 0}
    assert await eventually(lambda: all(margins(market, name) == nothing for name in names), within=30)


async def test_a_frozen_client_s_orders_are_cancelled_and_positions_closed_by_the_house(
    market: Market, desk: httpx.AsyncClient
) -> None:
    async with signed_in(market, "DEMO0035") as client:
        await buy_and_rest(market, client, "DEMO0035", "NSE:SBIN")
        asked = {"scope": "user", "id": "DEMO0035", "reason": "unusual trading", "flatten": True}
        answer = await desk.post("/api/v1/risk/freeze", json=asked)
        assert answer.status_code == 200, answer.text
        assert await eventually(lambda: net(market, "DEMO0035", "NSE:SBIN") == 0, within=40)
        mine = (await client.get("/api/v1/orders")).json()["orders"]
    by_type = {(order["order_type"], order["transaction_type"]): order for order in mine}
    assert by_type["LIMIT", "BUY"]["status"] == "CANCELLED"
    closing = by_type["MARKET", "SELL"]
    assert (closing["status"], closing["quantity"]) == ("EXECUTED", 20)
    record = rows(
        market,
        "SELECT actor FROM audit_log WHERE order_id = %s AND event = 'ACCEPTED'",
        int(closing["order_id"]),
    )
    assert record == [{"actor": "RISK01"}]
    temporal = await connect(market)
    told = await temporal.get_workflow_handle(answer.json()["wind_down"]).result()
    assert told[0].endswith("; 0 are still pending.")
    assert told[-1] == "1 closing orders for 1 positions of 1 clients; 0 are open."
    assert await eventually(
        lambda: margins(market, "DEMO0035") == {"blocked_margin": 0, "held": 0}, within=20
    )


async def test_the_square_off_closes_intraday_positions_once(market: Market) -> None:
    temporal = await connect(market)
    async with signed_in(market, "DEMO0036") as client:
        await buy_and_rest(market, client, "DEMO0036", "NSE:TCS")
        before = len((await client.get("/api/v1/orders")).json()["orders"])
        asked = SquareOffPlan("CAS", "2026-11-25")
        for attempt in (1, 2):
            told = await temporal.execute_workflow(
                contracts.SQUARE_OFF_WORKFLOW,
                asked,
                id=f"square-off-test-{attempt}-{time.time_ns()}",
                task_queue=contracts.OPERATIONS_QUEUE,
            )
            assert told[0].startswith("Square-off of CAS on 2026-11-25, due 2026-11-25T09:30:00"), told
            assert told[-1].endswith("; 0 are open."), told
        assert net(market, "DEMO0036", "NSE:TCS") == 0
        mine = (await client.get("/api/v1/orders")).json()["orders"]
    assert len(mine) == before + 1
    assert {order["status"] for order in mine} == {"EXECUTED", "CANCELLED"}
    holiday = await temporal.execute_workflow(
        contracts.SQUARE_OFF_WORKFLOW,
        SquareOffPlan("CAS", "2026-11-24"),
        id=f"square-off-test-{time.time_ns()}",
        task_queue=contracts.OPERATIONS_QUEUE,
    )
    assert holiday == ["2026-11-24 has no regular trading: nothing to square off."]


async def test_the_schedules_stand_and_the_reconciliation_runs_by_itself(market: Market) -> None:
    temporal = await connect(market)

    async def ran() -> bool:
        return bool((await temporal.get_schedule_handle("reconciliation").describe()).info.recent_actions)

    assert await eventually(ran, within=60)
    names = {schedule.id async for schedule in await temporal.list_schedules()}
    # The square-off is none of them: it goes by the market's time.
    assert names == {"reconciliation", "day-roll"}
    described = await temporal.get_schedule_handle("reconciliation").describe()
    run = described.info.recent_actions[-1].action
    assert isinstance(run, ScheduleActionExecutionStartWorkflow)
    found = await temporal.get_workflow_handle(run.workflow_id).result()
    assert "accounts: every view agrees with the ledger; the books hold" in found["sentence"]


async def test_the_day_roll_prepares_the_day_and_loads_the_margin_views(market: Market) -> None:
    temporal = await connect(market)
    told = [
        await temporal.execute_workflow(
            contracts.DAY_ROLL_WORKFLOW,
            id=f"day-roll-test-{time.time_ns()}",
            task_queue=contracts.OPERATIONS_QUEUE,
        )
        for _ in range(2)
    ]
    assert all("is prepared" in said and said.endswith(" margin views were loaded.") for said in told)
    assert told[1].endswith(" 0 margin views were loaded.")


async def connect(market: Market) -> Client:
    """To the operations."""
    return await connect_operations(market.settings, "test")


async def buy_and_rest(market: Market, client: httpx.AsyncClient, client_id: str, instrument: str) -> None:
    """Twenty held intraday, and a purchase that rests far below."""
    found = (await client.get("/api/v1/instruments", params={"q": instrument})).json()["instruments"]
    low = next(row["lower_band"] for row in found if row["instrument_id"] == instrument)
    buys = an_order(instrument_id=instrument, product="MIS", quantity=20)
    assert (await client.post("/api/v1/orders", json=buys)).status_code == 202
    assert await eventually(lambda: net(market, client_id, instrument) == 20, within=30)
    rests = an_order(instrument_id=instrument, product="MIS", quantity=5, order_type="LIMIT", price=low)
    assert (await client.post("/api/v1/orders", json=rests)).status_code == 202
    assert await eventually(
        lambda: rows(
            market,
            "SELECT 1 FROM orders JOIN users USING (user_id) WHERE client_id = %s AND status = 'OPEN'",
            client_id,
        ),
        within=30,
    )
