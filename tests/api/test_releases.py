"""A market-wide or segment stop is released by two people of the risk desk; a stop itself needs one."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from bus import wakeups
from storage.database import Database
from tests.support.clients import an_order, signed_in
from tests.support.desk import lift_everything
from tests.support.eventually import eventually

WIDE = [("all", None), ("segment", "BSE:CASH")]
NARROW = [("instrument", "BSE:TCS"), ("user", "DEMO0065")]


Desk = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module")
async def people(app: FastAPI) -> AsyncIterator[Desk]:
    async with signed_in(app, "RISK01") as first, signed_in(app, "RISK02") as second:
        yield first, second


@pytest.fixture
async def desk(people: Desk) -> AsyncIterator[Desk]:
    """Two people; whatever is frozen is lifted after the test."""
    yield people
    await lift_everything(*people)


async def freeze(person: httpx.AsyncClient, scope: str, id: str | None) -> httpx.Response:
    body = {"scope": scope, "id": id, "reason": "a fault at the exchange"}
    answer = await person.post("/api/v1/risk/freeze", json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def unfreeze(person: httpx.AsyncClient, scope: str, id: str | None) -> httpx.Response:
    body = {"scope": scope, "id": id, "reason": "the fault is mended"}
    return await person.post("/api/v1/risk/unfreeze", json=body)


async def standing(person: httpx.AsyncClient) -> list[dict[str, Any]]:
    states: list[dict[str, Any]] = (await person.get("/api/v1/risk/states")).json()["states"]
    return states


async def on_record(database: Database, *traces: str) -> list[dict[str, Any]]:
    """What these requests have put on record, alerts apart."""
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT event, actor, detail->>'asked_by' AS asked_by, host(client_ip) AS ip FROM audit_log"
            " WHERE split_part(traceparent, '-', 2) = ANY(%s) ORDER BY audit_id",
            (list(traces),),
        )
        return await found.fetchall()


def trace(answer: httpx.Response) -> str:
    return answer.headers["x-trace-id"]


@pytest.mark.parametrize(("scope", "id"), WIDE)
async def test_one_asks_and_another_confirms(
    desk: Desk, database: Database, scope: str, id: str | None
) -> None:
    first, second = desk
    await freeze(first, scope, id)
    asked = await unfreeze(first, scope, id)
    assert (asked.status_code, asked.json()["lifted"]) == (202, [])
    assert asked.json()["release"]["asked_by"] == "RISK01"
    [state] = await standing(second)
    assert (state["state"], state["release"]) == ("HALTED", asked.json()["release"])
    done = await unfreeze(second, scope, id)
    assert (done.status_code, done.json()["lifted"], done.json()["release"]) == (200, ["DESK"], None)
    assert await standing(first) == []
    assert await on_record(database, trace(asked), trace(done)) == [
        {"event": "RELEASE_ASKED", "actor": "RISK01", "asked_by": None, "ip": "127.0.0.1"},
        {"event": "UNFROZEN", "actor": "RISK02", "asked_by": "RISK01", "ip": "127.0.0.1"},
    ]


async def test_until_the_second_confirms_nothing_is_taken(app: FastAPI, desk: Desk) -> None:
    first, second = desk
    await freeze(first, "all", None)
    await unfreeze(first, "all", None)
    async with signed_in(app, "DEMO0066") as client:

        async def refused() -> bool:
            return (await client.post("/api/v1/orders", json=an_order())).status_code == 503

        await eventually(refused)
        await unfreeze(second, "all", None)

        async def taken() -> bool:
            return (await client.post("/api/v1/orders", json=an_order())).status_code == 202

        await eventually(taken)


@pytest.mark.parametrize(("scope", "id"), WIDE)
async def test_the_same_person_twice_is_refused_and_says_who_must_confirm(
    app: FastAPI, desk: Desk, database: Database, scope: str, id: str | None
) -> None:
    first, _ = desk
    await freeze(first, scope, id)
    asked = await unfreeze(first, scope, id)
    again = await unfreeze(first, scope, id)
    assert (again.status_code, again.json()["code"]) == (409, "SECOND_PERSON_REQUIRED")
    assert "RISK01 has asked" in again.json()["detail"]
    assert asked.json()["release"]["until"] in again.json()["detail"]
    [state] = await standing(first)
    assert state["release"] == asked.json()["release"], "asking again does not make it last longer"
    await app.state.refused_requests.write(time.time_ns())
    assert [row["event"] for row in await on_record(database, trace(again))] == ["REQUEST_REFUSED"]


@pytest.mark.parametrize("by", [0, 1], ids=["who asked", "who would confirm"])
@pytest.mark.parametrize(("scope", "id"), WIDE)
async def test_a_stop_between_asking_and_confirming_voids_the_release(
    desk: Desk, database: Database, scope: str, id: str | None, by: int
) -> None:
    first, second = desk
    await freeze(first, scope, id)
    await unfreeze(first, scope, id)
    stopped = await freeze(desk[by], scope, id)
    assert [row["event"] for row in await on_record(database, trace(stopped))] == ["RELEASE_VOIDED"]
    asks = await unfreeze(second, scope, id)
    assert (asks.status_code, asks.json()["release"]["asked_by"]) == (202, "RISK02")
    assert [state["state"] for state in await standing(first)] == ["HALTED"]


@pytest.mark.parametrize(("scope", "id"), NARROW)
async def test_one_client_or_instrument_is_released_by_one_person(
    desk: Desk, scope: str, id: str | None
) -> None:
    first, _ = desk
    await freeze(first, scope, id)
    done = await unfreeze(first, scope, id)
    assert (done.status_code, done.json()["lifted"]) == (200, ["DESK"])


@pytest.mark.parametrize(("scope", "id"), WIDE)
async def test_where_nothing_is_stopped_there_is_nothing_to_ask(
    desk: Desk, scope: str, id: str | None
) -> None:
    for person in desk:
        done = await unfreeze(person, scope, id)
        assert (done.status_code, done.json()["lifted"], done.json()["release"]) == (200, [], None)


async def test_the_desk_is_alerted_of_each_step(desk: Desk, redis: Redis) -> None:
    first, second = desk
    async with redis.pubsub() as alerts:
        await alerts.subscribe(wakeups.RISK_ALERTS)
        await freeze(first, "all", None)
        await unfreeze(first, "all", None)
        await freeze(second, "all", None)
        await unfreeze(second, "all", None)
        await unfreeze(first, "all", None)
        kinds: list[str] = []

        async def told() -> bool:
            message = await alerts.get_message(ignore_subscribe_messages=True, timeout=1)
            if message is not None:
                kinds.append(msgspec.json.decode(message["data"])["kind"])
            return kinds == ["RELEASE_ASKED", "RELEASE_VOIDED", "RELEASE_ASKED", "RELEASED"]

        await eventually(told)


@pytest.mark.parametrize(("scope", "id"), WIDE)
async def test_a_halt_is_not_loosened_by_one_person_through_the_other_door(
    desk: Desk, scope: str, id: str | None
) -> None:
    first, second = desk
    await freeze(first, scope, id)
    await unfreeze(first, scope, id)
    less = {"scope": scope, "id": id, "state": "REDUCING", "reason": "a little is enough"}
    for person in desk:
        answer = await person.post("/api/v1/risk/freeze", json=less)
        assert (answer.status_code, answer.json()["code"]) == (409, "HALT_STANDS")
    [state] = await standing(first)
    assert (state["state"], state["reason"]) == ("HALTED", "a fault at the exchange")
    assert state["release"] is not None, "what was refused has voided nothing"
    assert (await unfreeze(second, scope, id)).json()["lifted"] == ["DESK"]
    for stop in (less, {**less, "state": "HALTED"}):
        answer = await first.post("/api/v1/risk/freeze", json=stop)
        assert (answer.status_code, answer.json()["changed"]) == (200, True), "more is a stop"


@pytest.mark.parametrize(("scope", "id"), NARROW)
async def test_one_person_loosens_what_one_person_may_release(desk: Desk, scope: str, id: str | None) -> None:
    first, _ = desk
    await freeze(first, scope, id)
    less = {"scope": scope, "id": id, "state": "REDUCING", "reason": "a little is enough"}
    answer = await first.post("/api/v1/risk/freeze", json=less)
    assert (answer.status_code, answer.json()["changed"]) == (200, True)
