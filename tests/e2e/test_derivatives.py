"""Futures and options on the running market: margined by the exchange's own file, by the real workflow."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from config.rules import exposure_rates
from domain.money import paise
from domain.orders import Side
from domain.portfolio_margin import MarginedPosition, MarginParameters, WorkingOrder, portfolio_margin
from domain.span import contract_key
from domain.time import trade_date
from exchange.files.master import read_master
from exchange.files.span_directory import span_path
from exchange.files.span_parser import read_span_file
from tests.e2e.test_order_path import cancel, change, ended, place
from tests.support.clients import an_order
from tests.support.contracts import front_future, front_option
from tests.support.eventually import eventually
from tests.support.market import Market

FUTURE, LOT = f"NSE:{front_future('NIFTY 50')}", 65
CALL = f"NSE:{front_option('NIFTY 50', 26_000, 'CE')}"
CONTRACTS = {f"NSE:{symbol}": contract_key(row) for symbol, row in read_master("NSE").items()}
CARRIED = {"product": "NRML", "quantity": LOT}


@pytest.fixture
def client(market: Market) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        answer = http.post("/api/v1/session", json={"client_id": "DEMO0041", "password": "demo"})
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


@pytest.fixture
def rules(market: Market) -> MarginParameters:
    """As the exchange has published them."""
    span = read_span_file(span_path(market.settings.data_dir, "NSE", trade_date(time.time_ns())))
    return MarginParameters(span, exposure_rates(span.business_date))


def needed(rules: MarginParameters, held: dict[str, int], ordered: dict[str, int] | None = None) -> int:
    """SPAN and exposure margin of units held and units ordered, both signed."""
    orders = [
        WorkingOrder(_key(one), Side.BUY if units > 0 else Side.SELL, abs(units), 0)
        for one, units in (ordered or {}).items()
    ]
    margin = portfolio_margin(
        [MarginedPosition(_key(one), units) for one, units in held.items()], rules, orders
    )
    assert margin is not None
    return margin.span + margin.exposure


def _key(instrument_id: str) -> Any:
    return CONTRACTS[instrument_id]


def lower_band(client: httpx.Client, instrument_id: str) -> str:
    found = client.get("/api/v1/instruments", params={"q": instrument_id}).json()["instruments"]
    return str(found[0]["lower_band"])


def dry_run(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/orders", params={"dry_run": "true"}, json=an_order(**changes))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def margins(client: httpx.Client) -> dict[str, int]:
    return {name: paise(text) for name, text in client.get("/api/v1/portfolio/margins").json().items()}


async def stands(client: httpx.Client, blocked: int, used: int) -> None:
    seen: list[tuple[int, int]] = []

    def found() -> bool:
        now = margins(client)
        seen.append((now["blocked_margin"], now["used_margin"]))
        return seen[-1] == (blocked, used)

    assert await eventually(found, within=20), (seen[-1], (blocked, used))


async def test_a_future_is_bought_hedged_and_closed_with_its_margin_to_the_paisa(
    client: httpx.Client, rules: MarginParameters
) -> None:
    cash = margins(client)["available_cash"]
    bought = place(client, instrument_id=FUTURE, **CARRIED)
    await ended(client, bought, "EXECUTED")
    bare = needed(rules, {FUTURE: LOT})
    await stands(client, 0, bare)
    assert margins(client)["exposure_margin"] > 0

    # Selling a call against the future: the order blocks what it may add, the fill what the two need.
    sold = place(client, instrument_id=CALL, transaction_type="SELL", **CARRIED)
    await ended(client, sold, "EXECUTED")
    await stands(client, 0, needed(rules, {FUTURE: LOT, CALL: -LOT}))

    for instrument_id, side in ((CALL, "BUY"), (FUTURE, "SELL")):
        closing = place(client, instrument_id=instrument_id, transaction_type=side, **CARRIED)
        await ended(client, closing, "EXECUTED")
    await stands(client, 0, 0)
    after = margins(client)
    assert after["exposure_margin"] == 0
    # A round trip loses the spread at most: nothing stays bound.
    assert cash - after["available_cash"] < 2 * LOT * 50_00


async def test_an_option_bought_is_paid_upfront_and_a_resting_one_blocks_its_premium(
    client: httpx.Client,
) -> None:
    before = margins(client)
    low = lower_band(client, CALL)
    order = place(client, instrument_id=CALL, order_type="LIMIT", price=low, **CARRIED)
    await ended(client, order, "OPEN")
    await stands(client, LOT * paise(low), before["used_margin"])
    assert change(client, order, quantity=2 * LOT).status_code == 202
    await stands(client, 2 * LOT * paise(low), before["used_margin"])
    changed = await eventually(lambda: client.get(f"/api/v1/orders/{order}").json()["quantity"] == 2 * LOT)
    assert changed
    await stands(client, 2 * LOT * paise(low), before["used_margin"])
    assert cancel(client, order).status_code == 202
    await ended(client, order, "CANCELLED")
    await stands(client, 0, before["used_margin"])


async def test_an_intraday_future_needs_the_same_and_rests_with_its_margin_blocked(
    client: httpx.Client, rules: MarginParameters
) -> None:
    used = margins(client)["used_margin"]
    low = lower_band(client, FUTURE)
    terms = {"product": "MIS", "quantity": LOT, "order_type": "LIMIT", "price": low}
    need = needed(rules, {}, {FUTURE: LOT})
    tried = dry_run(client, instrument_id=FUTURE, **terms)
    assert (paise(tried["blocked_margin"]), tried["failures"]) == (need, [])
    order = place(client, instrument_id=FUTURE, **terms)
    seen = await ended(client, order, "OPEN")
    await stands(client, need, used)
    assert paise(seen["history"][1]["blocked_margin"]) == need
    assert cancel(client, order).status_code == 202
    await stands(client, 0, used)


async def test_what_the_account_cannot_carry_is_refused_and_nothing_stays_blocked(
    client: httpx.Client,
) -> None:
    before = margins(client)
    for terms in ({"instrument_id": FUTURE}, {"instrument_id": CALL, "transaction_type": "SELL"}):
        tried = dry_run(client, **terms, product="NRML", quantity=8 * LOT)
        assert [failure["code"] for failure in tried["failures"]] == ["MARGIN_INSUFFICIENT"]
        order = place(client, **terms, product="NRML", quantity=8 * LOT)
        refused = await ended(client, order, "REJECTED")
        assert refused["reject_code"] == "MARGIN_INSUFFICIENT"
    await stands(client, before["blocked_margin"], before["used_margin"])


def test_a_derivative_is_never_delivered(client: httpx.Client) -> None:
    body = {"instrument_id": FUTURE, "order_type": "MARKET", "transaction_type": "BUY", "product": "CNC"}
    key = "00000000-0000-4000-8000-000000000041"
    delivered = client.post("/api/v1/orders", json={**body, "quantity": LOT, "idempotency_key": key})
    assert (delivered.status_code, delivered.json()["code"]) == (422, "PRODUCT_NOT_ALLOWED")


async def test_without_the_exchange_s_file_no_derivative_passes_until_it_is_back(
    market: Market, client: httpx.Client
) -> None:
    path = span_path(market.settings.data_dir, "NSE", trade_date(time.time_ns()))
    kept = path.rename(path.with_suffix(".away"))
    stale = kept.read_text().replace(f"<date>{path.stem[-8:]}</date>", "<date>20261001</date>")
    worker = market.process("order-worker-0")
    try:
        for text, code in ((None, "SPAN_FILE_MISSING"), (stale, "SPAN_FILE_STALE")):
            if text is not None:
                path.write_text(text)
            worker.kill9()
            worker.start()
            worker.wait_healthy()
            order = place(client, instrument_id=FUTURE, **CARRIED)
            refused = await ended(client, order, "REJECTED")
            assert refused["reject_code"] == code
    finally:
        kept.rename(path)

    async def passes() -> bool:
        order = place(client, instrument_id=CALL, order_type="LIMIT", price="195.25", **CARRIED)
        status = ""

        def decided() -> bool:
            nonlocal status
            status = client.get(f"/api/v1/orders/{order}").json()["status"]
            return status in ("OPEN", "REJECTED")

        assert await eventually(decided, within=20)
        if status == "OPEN":
            cancel(client, order)
        return status == "OPEN"

    # The file is read again as it comes, without a restart.
    assert await eventually(passes, within=20)
