"""A repeated key is answered as the first time, whatever has changed since: band, master, state, rules."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from domain.instruments import Instrument
from domain.time import trade_date
from domain.trading_states import Scope
from storage.database import Database
from storage.risk.trading_states import StateTarget
from tests.support.clients import an_order, sign_in
from tests.support.desk import frozen

RELIANCE = "NSE:RELIANCE"
ORDERS = "/api/v1/orders"
SLICED = {"quantity": 40_000, "auto_slice": True}
"""Three slices of at most 15,000."""


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await sign_in(http, "DEMO0053")
    return http


@pytest.fixture
async def master(app: FastAPI) -> AsyncIterator[dict[str, Instrument]]:
    """The instruments that the gates judge by; as before when the test ends."""
    listed: dict[str, Instrument] = app.state.instruments
    before = dict(listed)
    yield listed
    listed.clear()
    listed.update(before)


def moved_band(row: Instrument) -> Instrument:
    return replace(row, lower_band=row.previous_close + 1000 * row.tick_size, upper_band=10**9)


CHANGES: dict[str, Callable[[Instrument], Instrument]] = {
    "the band has moved": moved_band,
    "the tick is another": lambda row: replace(row, tick_size=7),
    "the lot is another": lambda row: replace(row, lot_size=7),
    "the freeze quantity is smaller": lambda row: replace(row, freeze_quantity=1),
    "it trades no more": lambda row: replace(row, tradable=False),
    "it has expired": lambda row: replace(row, expiry=trade_date(0)),
}


async def assert_answered_as_first(
    client: httpx.AsyncClient, body: dict[str, Any], first: httpx.Response
) -> None:
    """The same key and body; then the key with another body, which would be refused for itself as well."""
    again = await client.post(ORDERS, json=body)
    assert (again.status_code, again.text) == (202, first.text), again.text
    assert again.headers.get("Idempotent-Replayed") == "true"
    for other in ({"quantity": body["quantity"] + 1}, {"tag": "other"}, {"price": "0.01"}):
        reused = await client.post(ORDERS, json=body | other)
        assert (reused.status_code, reused.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED"), reused.text
        assert reused.json()["order_id"] == first.json()["order_id"]


async def placed(client: httpx.AsyncClient, master: dict[str, Instrument], **terms: Any) -> Any:
    price = f"{master[RELIANCE].previous_close / 100:.2f}"
    body = an_order(order_type="LIMIT", price=price, **terms)
    first = await client.post(ORDERS, json=body)
    assert first.status_code == 202, first.text
    return body, first


@pytest.mark.parametrize("terms", [{}, SLICED], ids=["one", "sliced"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_the_master_has_changed_since(
    client: httpx.AsyncClient,
    master: dict[str, Instrument],
    change: Callable[[Instrument], Instrument],
    terms: dict[str, Any],
) -> None:
    body, first = await placed(client, master, **terms)
    master[RELIANCE] = change(master[RELIANCE])
    await assert_answered_as_first(client, body, first)
    new = await client.post(ORDERS, json=body | {"idempotency_key": str(uuid4())})
    assert new.status_code == 422 and new.json()["code"] != "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("terms", [{}, SLICED], ids=["one", "sliced"])
async def test_the_instrument_is_listed_no_more(
    client: httpx.AsyncClient, master: dict[str, Instrument], terms: dict[str, Any]
) -> None:
    body, first = await placed(client, master, **terms)
    del master[RELIANCE]
    await assert_answered_as_first(client, body, first)


@pytest.mark.parametrize(
    ("before", "since"), [(15_000, 100_000), (100_000, 15_000)], ids=["sliced once", "whole once"]
)
async def test_what_was_sliced_stays_so_whatever_the_freeze_quantity_is_now(
    client: httpx.AsyncClient, master: dict[str, Instrument], before: int, since: int
) -> None:
    master[RELIANCE] = replace(master[RELIANCE], freeze_quantity=before)
    body, first = await placed(client, master, **SLICED)
    assert ("children" in first.json()) == (before < SLICED["quantity"])
    master[RELIANCE] = replace(master[RELIANCE], freeze_quantity=since)
    await assert_answered_as_first(client, body, first)


@asynccontextmanager
async def everything_frozen(app: FastAPI, database: Database) -> AsyncIterator[None]:
    try:
        async with frozen(database, StateTarget(Scope.SEGMENT, "NSE:CASH")):
            await app.state.trading_states.refresh()
            yield
    finally:
        await app.state.trading_states.refresh()


@pytest.mark.parametrize("terms", [{}, SLICED], ids=["one", "sliced"])
async def test_the_segment_is_frozen_since(
    app: FastAPI,
    client: httpx.AsyncClient,
    master: dict[str, Instrument],
    database: Database,
    terms: dict[str, Any],
) -> None:
    body, first = await placed(client, master, **terms)
    async with everything_frozen(app, database):
        await assert_answered_as_first(client, body, first)
        new = await client.post(ORDERS, json=body | {"idempotency_key": str(uuid4())})
        assert new.json()["code"] == "SEGMENT_HALTED"


async def test_another_client_s_key_is_nobody_s_but_his(
    client: httpx.AsyncClient, master: dict[str, Instrument]
) -> None:
    body, _ = await placed(client, master)
    master[RELIANCE] = moved_band(master[RELIANCE])
    await sign_in(client, "DEMO0054")
    answer = await client.post(ORDERS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "PRICE_OUT_OF_BAND")
