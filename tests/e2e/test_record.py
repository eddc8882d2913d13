"""Every act has its origin on record: address, device and trace, after it was done and after it was refused.

The acting routes are those of the served document; one that is not in the table fails the first test.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.clients import an_order, lower_band, sign_in
from tests.support.eventually import eventually
from tests.support.market import Market

ORDERS, RISK = "/api/v1/orders", "/api/v1/risk"
ACTING = {"post", "put", "patch", "delete"}
NOBODY = f"X{uuid4().hex[:12]}".upper()
STOPPED = {"scope": "instrument", "id": "BSE:SBIN", "reason": "a test"}
LIMITS = {
    "exposure_limit": "900000.00",
    "position_limit": 900,
    "order_value_limit": "900000.00",
    "reason": "a test",
}


class People:
    """A client and two of the risk desk, each with a device of its own name."""

    def __init__(self, market: Market, clients: dict[str, httpx.AsyncClient]) -> None:
        self.market = market
        self.client, self.desk, self.second = (clients[name] for name in ("DEMO0049", "RISK01", "RISK02"))

    async def resting(self) -> str:
        """An order at the lower band, open at the exchange; its id."""
        order = await self.placed()
        path = f"{ORDERS}/{order.json()['order_id']}"

        async def opened() -> bool:
            return bool((await self.client.get(path)).json()["status"] == "OPEN")

        await eventually(opened, within=20)
        return path

    async def placed(self) -> httpx.Response:
        low = lower_band(self.market.api_url, "NSE:TCS")
        rests = an_order(instrument_id="NSE:TCS", order_type="LIMIT", price=low, quantity=2)
        return await self.client.post(ORDERS, json=rests)


async def sign_in_again(people: People) -> httpx.Response:
    body = {"client_id": "DEMO0049", "password": "demo"}
    return await people.client.post("/api/v1/session", json=body)


async def place(people: People) -> httpx.Response:
    return await people.placed()


async def change(people: People) -> httpx.Response:
    return await people.client.put(await people.resting(), json={"quantity": 3})


async def cancel(people: People) -> httpx.Response:
    return await people.client.delete(await people.resting())


async def freeze(people: People) -> httpx.Response:
    return await people.desk.post(f"{RISK}/freeze", json=STOPPED)


async def unfreeze(people: People) -> httpx.Response:
    await freeze(people)
    return await people.desk.post(f"{RISK}/unfreeze", json=STOPPED)


async def set_limits(people: People) -> httpx.Response:
    return await people.desk.put(f"{RISK}/limits/DEMO0049", json=LIMITS)


Act = Callable[[People], Awaitable[httpx.Response]]
ACTS: dict[tuple[str, str], tuple[Act, str, str]] = {
    ("POST", "/api/v1/session"): (sign_in_again, "SIGNED_IN", "DEMO0049"),
    ("POST", ORDERS): (place, "ACCEPTED", "client"),
    ("PUT", f"{ORDERS}/{{order_id}}"): (change, "CHANGE_REQUESTED", "client"),
    ("DELETE", f"{ORDERS}/{{order_id}}"): (cancel, "CANCEL_REQUESTED", "client"),
    ("POST", f"{RISK}/freeze"): (freeze, "FROZEN", "RISK01"),
    ("POST", f"{RISK}/unfreeze"): (unfreeze, "UNFROZEN", "RISK01"),
    ("PUT", f"{RISK}/limits/{{client_id}}"): (set_limits, "LIMITS_SET", "RISK01"),
}
"""What does it, what is then on record, and whose act it is."""


@pytest.fixture
async def people(market: Market) -> AsyncIterator[People]:
    async with AsyncExitStack() as opened:
        clients = {}
        for name in ("DEMO0049", "RISK01", "RISK02"):
            headers = {"X-Device-Fingerprint": f"{name}'s device"}
            client = httpx.AsyncClient(base_url=market.api_url, timeout=30, headers=headers)
            clients[name] = await opened.enter_async_context(client)
            await sign_in(client, name)
        yield People(market, clients)
        await clients["RISK01"].post(f"{RISK}/unfreeze", json=STOPPED)


def rows(market: Market, query: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
        return conn.execute(query.encode(), values).fetchall()


def on_record(market: Market, answer: httpx.Response, event: str) -> list[dict[str, Any]]:
    """What this request has put on record."""
    return rows(
        market,
        "SELECT actor, host(client_ip) AS ip, device, client_id, detail FROM audit_log"
        " LEFT JOIN users USING (user_id) WHERE split_part(traceparent, '-', 2) = %s AND event = %s",
        answer.headers["x-trace-id"],
        event,
    )


async def test_the_table_has_every_acting_route_that_is_served(market: Market) -> None:
    async with httpx.AsyncClient(base_url=market.api_url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    served = {(method.upper(), path) for path, own in paths.items() for method in own if method in ACTING}
    assert served == set(ACTS)


@pytest.mark.parametrize("route", ACTS, ids=" ".join)
async def test_an_act_is_on_record_with_its_origin(
    market: Market, people: People, route: tuple[str, str]
) -> None:
    act, event, actor = ACTS[route]
    answer = await act(people)
    assert answer.is_success, answer.text
    device = "RISK01's device" if actor == "RISK01" else "DEMO0049's device"
    [row] = on_record(market, answer, event)
    assert (row["actor"], row["ip"], row["device"]) == (actor, "127.0.0.1", device)
    assert row["client_id"] is not None, "who did it"


async def test_the_refusal_of_each_act_is_on_record_with_its_origin(market: Market, people: People) -> None:
    """A client where the desk is asked for and the desk where a client is; a wrong password of nobody."""
    answers = {route: await refused(people, *route) for route in ACTS}
    for route, answer in answers.items():
        assert answer.status_code in (401, 403), answer.text
        row = await refusal(market, answer)
        whose = "DEMO0049" if route[1].startswith(RISK) else "RISK01"
        signs_in = route[1].endswith("/session")
        assert (row["ip"], row["device"]) == ("127.0.0.1", f"{whose}'s device")
        assert row["actor"] == ("stranger" if signs_in else whose)
        assert row["detail"] == {
            "request": " ".join(route),
            "status": answer.status_code,
            "code": answer.json()["code"],
            **({"client_id": NOBODY} if signs_in else {}),
        }


async def refusal(market: Market, answer: httpx.Response) -> dict[str, Any]:
    """Within a second or so."""
    [row] = await eventually(lambda: on_record(market, answer, "REQUEST_REFUSED"))
    return dict(row)


async def refused(people: People, method: str, path: str) -> httpx.Response:
    asks = people.client if path.startswith(RISK) else people.desk
    asked: dict[str, Any] = {"client_id": NOBODY, "password": "demo"} if path.endswith("/session") else {}
    where = path.format(order_id="991231000000001", client_id="DEMO0049")
    return await asks.request(method, where, json=asked) if asked else await asks.request(method, where)


async def test_what_the_desk_s_freeze_cancels_says_where_the_freeze_came_from(
    market: Market, people: People
) -> None:
    path = await people.resting()
    about = {"scope": "user", "id": "DEMO0049", "reason": "unusual trading"}
    answer = await people.desk.post(f"{RISK}/freeze", json={**about, "cancel_pending": True})
    try:
        assert answer.status_code == 200, answer.text
        cancelled = on_record(market, answer, "CANCEL_REQUESTED")
        assert {(row["actor"], row["ip"], row["device"]) for row in cancelled} == {
            ("RISK01", "127.0.0.1", "RISK01's device")
        }

        async def ended() -> bool:
            return bool((await people.client.get(path)).json()["status"] == "CANCELLED")

        await eventually(ended, within=20)
    finally:
        await people.desk.post(f"{RISK}/unfreeze", json=about)
