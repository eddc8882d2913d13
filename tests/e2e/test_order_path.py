"""An order's whole way on the running market: HTTP in, FIX through the exchange, and back into the books."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from domain.money import paise, rupees
from exchange.files.trade_file import read_trade_file, trade_file_paths
from tests.support.clients import an_order
from tests.support.eventually import eventually
from tests.support.market import Market


@pytest.fixture
def client(market: Market) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        answer = http.post("/api/v1/session", json={"client_id": "DEMO0021", "password": "demo"})
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


def place(client: httpx.Client, **changes: Any) -> str:
    body = {
        "instrument_id": "NSE:RELIANCE",
        "order_type": "MARKET",
        "transaction_type": "BUY",
        "quantity": 5,
        "product": "CNC",
        "idempotency_key": str(uuid4()),
    } | changes
    answer = client.post("/api/v1/orders", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


async def ended(client: httpx.Client, order_id: str, status: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        order: dict[str, Any] = client.get(f"/api/v1/orders/{order_id}").json()
        return order if order["status"] == status else None

    order = await eventually(found, within=20)
    assert order is not None
    return order


def cancel(client: httpx.Client, order_id: str) -> httpx.Response:
    return client.delete(f"/api/v1/orders/{order_id}")


def instrument(client: httpx.Client) -> dict[str, Any]:
    found = client.get("/api/v1/instruments", params={"q": "NSE:RELIANCE"}).json()["instruments"]
    return next(dict(row) for row in found if row["instrument_id"] == "NSE:RELIANCE")


def lower_band(client: httpx.Client) -> str:
    return str(instrument(client)["lower_band"])


def books(market: Market, user: str) -> dict[str, Any]:
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
        row = conn.execute(
            """SELECT l.*, (SELECT sum(amount) FROM ledger_postings) AS postings,
                      (SELECT coalesce(sum(open_quantity * unit_margin), 0) FROM margin_holds h
                       WHERE h.user_id = l.user_id) AS held,
                      (SELECT coalesce(sum(quantity * price), 0) FROM trades t WHERE t.user_id = l.user_id
                       AND product = 'CNC' AND transaction_type = 'BUY') AS bought
               FROM margin_ledger l JOIN users USING (user_id) WHERE client_id = %s""",
            (user,),
        ).fetchone()
    assert row is not None
    return row


def traded(market: Market, order_id: str) -> list[tuple[int, int]]:
    """Quantity and price of the order's trades in the exchange's own file."""
    return [
        (leg.quantity, leg.price)
        for path in trade_file_paths(market.settings.data_dir, "NSE")
        for leg in read_trade_file(path)
        if leg.order_id == order_id
    ]


async def test_a_market_order_is_executed_and_booked_to_the_paisa(
    market: Market, client: httpx.Client
) -> None:
    order_id = place(client)
    order = await ended(client, order_id, "EXECUTED")
    events = [entry["event"] for entry in order["history"]]
    assert events[:3] == ["ACCEPTED", "SUBMITTED", "SENT"]
    assert events[-1] == "FILL"
    assert [entry["seq"] for entry in order["history"]] == sorted(e["seq"] for e in order["history"])

    trades = traded(market, order_id)
    assert sum(quantity for quantity, _ in trades) == 5
    value = sum(quantity * price for quantity, price in trades)
    assert await eventually(lambda: books(market, "DEMO0021")["used_margin"] == value, within=20)
    after = books(market, "DEMO0021")
    assert (after["blocked_margin"], after["held"], after["postings"]) == (0, 0, 0)
    assert (after["bought"], after["available_cash"]) == (value, after["cash"] - value)


async def test_an_order_beyond_its_means_is_refused_with_the_reason_and_nothing_stays_blocked(
    market: Market, client: httpx.Client
) -> None:
    before = books(market, "DEMO0021")
    order = await ended(client, place(client, quantity=9_000), "REJECTED")
    assert order["reject_code"] == "MARGIN_INSUFFICIENT"
    assert "available Rs" in order["reject_reason"]
    assert [entry["event"] for entry in order["history"]] == ["ACCEPTED", "REFUSED"]
    after = books(market, "DEMO0021")
    assert (after["available_cash"], after["blocked_margin"]) == (before["available_cash"], 0)


async def test_shares_that_are_not_held_cannot_be_sold_for_delivery(client: httpx.Client) -> None:
    order = await ended(client, place(client, transaction_type="SELL", quantity=14_000), "REJECTED")
    assert order["reject_code"] == "HOLDINGS_INSUFFICIENT"


async def test_a_resting_order_keeps_its_margin_blocked(market: Market, client: httpx.Client) -> None:
    before = books(market, "DEMO0021")
    low = lower_band(client)
    await ended(client, place(client, order_type="LIMIT", price=low, quantity=2), "OPEN")
    after = books(market, "DEMO0021")
    assert after["blocked_margin"] - before["blocked_margin"] == 2 * paise(low)
    assert after["held"] == after["blocked_margin"]


async def test_a_cancelled_order_gives_its_margin_back_and_cannot_be_cancelled_again(
    market: Market, client: httpx.Client
) -> None:
    before = books(market, "DEMO0021")
    order_id = place(client, order_type="LIMIT", price=lower_band(client), quantity=3)
    await ended(client, order_id, "OPEN")
    assert cancel(client, order_id).status_code == 202
    await ended(client, order_id, "CANCELLED")
    blocked = before["blocked_margin"]
    assert await eventually(lambda: books(market, "DEMO0021")["blocked_margin"] == blocked, within=20)
    again = cancel(client, order_id)
    assert (again.status_code, again.json()["code"]) == (409, "ORDER_ALREADY_FINAL")
    assert cancel(client, "991231999999999").status_code == 404


async def test_an_intraday_round_trip_frees_its_margin_and_keeps_the_difference(
    market: Market, client: httpx.Client
) -> None:
    before = books(market, "DEMO0021")
    bought = place(client, instrument_id="NSE:SBIN", product="MIS", quantity=50)
    await ended(client, bought, "EXECUTED")
    assert await eventually(
        lambda: books(market, "DEMO0021")["used_margin"] > before["used_margin"], within=20
    )
    sold = place(client, instrument_id="NSE:SBIN", product="MIS", quantity=50, transaction_type="SELL")
    await ended(client, sold, "EXECUTED")
    values = [sum(q * p for q, p in traded(market, order)) for order in (sold, bought)]
    pnl = before["realized_pnl"] + values[0] - values[1]
    assert await eventually(lambda: books(market, "DEMO0021")["realized_pnl"] == pnl, within=20)
    after = books(market, "DEMO0021")
    assert (after["used_margin"], after["blocked_margin"]) == (
        before["used_margin"],
        before["blocked_margin"],
    )


def change(client: httpx.Client, order_id: str, **asked: Any) -> httpx.Response:
    return client.put(f"/api/v1/orders/{order_id}", json=asked)


async def test_a_changed_order_keeps_the_margin_of_what_it_is_now(
    market: Market, client: httpx.Client
) -> None:
    blocked = books(market, "DEMO0021")["blocked_margin"]
    low = lower_band(client)
    order_id = place(client, order_type="LIMIT", price=low, quantity=4)
    await ended(client, order_id, "OPEN")

    async def stands(quantity: int, price: str) -> None:
        def settled() -> bool:
            order = client.get(f"/api/v1/orders/{order_id}").json()
            now = books(market, "DEMO0021")
            return (order["quantity"], order["price"], now["blocked_margin"]) == (
                quantity,
                price,
                blocked + quantity * paise(price),
            ) and now["held"] == now["blocked_margin"]

        assert await eventually(settled, within=20)

    for quantity, price in ((9, low), (9, rupees(paise(low) + 500)), (2, rupees(paise(low) + 500))):
        assert change(client, order_id, quantity=quantity, price=price).status_code == 202
        await stands(quantity, price)
    again = change(client, order_id, quantity=2)
    assert (again.status_code, again.json()["code"]) == (422, "NOTHING_TO_CHANGE")
    dear = change(client, order_id, quantity=14_000)
    assert (dear.status_code, dear.json()["code"]) == (422, "MARGIN_INSUFFICIENT")
    await stands(2, rupees(paise(low) + 500))
    assert cancel(client, order_id).status_code == 202
    await ended(client, order_id, "CANCELLED")
    assert await eventually(lambda: books(market, "DEMO0021")["blocked_margin"] == blocked, within=20)
    over = change(client, order_id, quantity=3)
    assert (over.status_code, over.json()["code"]) == (409, "ORDER_ALREADY_FINAL")


async def test_a_growing_sale_needs_shares_that_are_free(client: httpx.Client) -> None:
    high = rupees(paise(instrument(client)["upper_band"]))
    sale = place(client, order_type="LIMIT", transaction_type="SELL", price=high, quantity=30)
    await ended(client, sale, "OPEN")
    held = change(client, sale, quantity=14_000)
    assert (held.status_code, held.json()["code"]) == (422, "HOLDINGS_INSUFFICIENT")
    assert change(client, sale, quantity=40).status_code == 202
    assert await eventually(lambda: promised(client) == 40, within=20)
    assert cancel(client, sale).status_code == 202
    assert await eventually(lambda: promised(client) == 0, within=20)


def promised(client: httpx.Client) -> int:
    """Shares of RELIANCE that sell orders have been promised."""
    held = client.get("/api/v1/portfolio/holdings").json()["holdings"]
    return sum(row["blocked_quantity"] for row in held if row["instrument_id"] == "NSE:RELIANCE")


async def test_stops_wait_and_immediate_orders_end(client: httpx.Client) -> None:
    close = paise(instrument(client)["previous_close"])
    near, far = rupees(close * 103 // 1000 * 10), rupees(close * 104 // 1000 * 10)
    stop = place(client, order_type="SL", trigger_price=near, price=far, quantity=1)
    await ended(client, stop, "TRIGGER_PENDING")
    unpriced = place(client, order_type="SL-M", trigger_price=near, quantity=1)
    waiting = await ended(client, unpriced, "TRIGGER_PENDING")
    assert paise(waiting["history"][1]["protected_price"]) > paise(near)
    assert change(client, unpriced, trigger_price=far).status_code == 202
    moved = await eventually(lambda: trigger_of(client, unpriced) == far, within=20)
    assert moved
    for order_id in (stop, unpriced):
        assert cancel(client, order_id).status_code == 202
        await ended(client, order_id, "CANCELLED")
    immediate = place(client, order_type="LIMIT", validity="IOC", price=lower_band(client), quantity=1)
    await ended(client, immediate, "CANCELLED")


def trigger_of(client: httpx.Client, order_id: str) -> str:
    return str(client.get(f"/api/v1/orders/{order_id}").json()["trigger_price"])


async def test_a_dry_run_says_what_the_order_then_meets(client: httpx.Client) -> None:
    def tried(**changes: Any) -> dict[str, Any]:
        body = an_order(**changes)
        return dict(client.post("/api/v1/orders", params={"dry_run": "true"}, json=body).json())

    dear: dict[str, Any] = {"quantity": 9_000}
    told = tried(**dear)
    refused = await ended(client, place(client, **dear), "REJECTED")
    assert [failure["code"] for failure in told["failures"]] == [refused["reject_code"]]
    resting: dict[str, Any] = {"order_type": "LIMIT", "price": lower_band(client), "quantity": 2}
    told = tried(**resting)
    order = await ended(client, place(client, **resting), "OPEN")
    assert (told["failures"], told["leaves_at"]) == ([], order["price"])
    assert told["blocked_margin"] == order["history"][1]["blocked_margin"]
    assert cancel(client, order["order_id"]).status_code == 202
    await ended(client, order["order_id"], "CANCELLED")
