"""A user's orders of the day: what was placed today, what still lives, and what came to its end today."""

from datetime import date, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from domain.orders import OrderStatus, Side, Validity
from domain.rejects import SENTENCES, RejectCode
from domain.reports import MarketPhase
from domain.time import ist_ns, order_id_floor, trade_date
from domain.wind_down import Selection
from storage.database import Database
from storage.orders import queries
from storage.risk import wind_downs
from tests.support.brokerage import Brokerage, brokerage
from tests.support.orders import new_users
from workflow_api.results import PASSED

FRIDAY, SATURDAY, MONDAY = date(2026, 11, 27), date(2026, 11, 28), date(2026, 11, 30)
TUESDAY = MONDAY + timedelta(1)
LIVING = [status for status in OrderStatus if not status.is_final]
_serials = count(999_000_000)
"""Above those of the tests that go through the intake."""


@pytest.fixture
async def user(database: Database) -> int:
    (user_id,) = await new_users(database, 1)
    return user_id


async def an_order(
    database: Database, user_id: int, day: date, status: str, changed: date | None = None, **facts: Any
) -> int:
    """Placed at six in the evening of `day`; it came to its status at ten in the morning of `changed`."""
    order_id = order_id_floor(day) + next(_serials)
    placed_ns = ist_ns(day, time(18))
    values = {
        "order_id": order_id,
        "user_id": user_id,
        "instrument_id": "NSE:RELIANCE",
        "status": status,
        "key": uuid4(),
        "placed": placed_ns,
        "changed": placed_ns if changed is None else ist_ns(changed, time(10)),
    }
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product,"
            " validity, quantity, price, status, idempotency_key, created_at_ns, updated_at_ns)"
            " VALUES (%(order_id)s, %(user_id)s, %(instrument_id)s, 'LIMIT', 'BUY', 'CNC', 'DAY', 4, 140430,"
            " %(status)s, %(key)s, %(placed)s, %(changed)s)",
            values | facts,
        )
    return order_id


async def listed(database: Database, user_id: int, day: date, **narrowed: Any) -> list[int]:
    asked: dict[str, Any] = {"before_id": None, "status": None, "instrument_id": None, "limit": 100}
    rows = await queries.list_orders(database, user_id, today=day, **(asked | narrowed))
    return [row["order_id"] for row in rows]


@pytest.mark.parametrize("status", LIVING)
async def test_an_order_that_still_lives_is_of_every_day(
    database: Database, user: int, status: OrderStatus
) -> None:
    """An after-market order of Friday evening, over the weekend and into its day; or one of last year."""
    waiting = await an_order(database, user, FRIDAY, status)
    forgotten = await an_order(database, user, date(2025, 12, 1), status)
    for day in (FRIDAY, SATURDAY, MONDAY, MONDAY + timedelta(30)):
        assert await listed(database, user, day) == [waiting, forgotten]
        assert await listed(database, user, day, status=status) == [waiting, forgotten]
        assert await listed(database, user, day, instrument_id="NSE:RELIANCE") == [waiting, forgotten]
        assert await listed(database, user, day, instrument_id="NSE:TCS") == []
        assert await listed(database, user, day, status="EXECUTED") == []


@pytest.mark.parametrize("status", ["EXECUTED", "CANCELLED", "REJECTED", "EXPIRED"])
async def test_an_order_that_ended_is_of_the_day_it_was_placed_and_of_the_day_it_ended(
    database: Database, user: int, status: str
) -> None:
    order_id = await an_order(database, user, FRIDAY, status, changed=MONDAY)
    days = [FRIDAY, MONDAY, TUESDAY]
    assert [await listed(database, user, day) for day in days] == [[order_id], [order_id], []]


async def test_settlement_does_not_bring_an_order_back(database: Database, user: int) -> None:
    order_id = await an_order(database, user, FRIDAY, "SETTLED", changed=MONDAY)
    assert await listed(database, user, FRIDAY) == [order_id]
    assert await listed(database, user, MONDAY) == []


async def test_newest_first_page_by_page_whatever_day_an_order_is_of(database: Database, user: int) -> None:
    waiting = [await an_order(database, user, FRIDAY, "PENDING_OPEN") for _ in range(3)]
    await an_order(database, user, FRIDAY, "CANCELLED")
    ended = [await an_order(database, user, FRIDAY, "EXECUTED", changed=MONDAY)]
    today = [await an_order(database, user, MONDAY, "EXECUTED") for _ in range(3)]
    (other,) = await new_users(database, 1)
    await an_order(database, other, FRIDAY, "PENDING_OPEN")
    expected = sorted(waiting + ended + today, reverse=True)
    assert await listed(database, user, MONDAY) == expected
    for limit in (1, 2, 3, 6):
        found: list[int] = []
        while True:
            page = await listed(database, user, MONDAY, limit=limit, before_id=found[-1] if found else None)
            found += page[:limit]
            if len(page) <= limit:
                break
        assert found == expected


async def test_a_wind_down_finds_what_is_pending_however_long_it_has_been(
    database: Database, user: int
) -> None:
    """A week was held for the longest an order can wait; a market that stays away longer has such orders."""
    forgotten = await an_order(database, user, FRIDAY - timedelta(30), "PENDING_OPEN")
    waiting = await an_order(database, user, FRIDAY, "OPEN")
    await an_order(database, user, FRIDAY, "EXPIRED")
    pending = await wind_downs.pending_orders(database, Selection(user_id=user))
    assert [one.order_id for one in pending] == [forgotten, waiting]


ENDINGS: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "immediate, and nothing is there": ({"validity": Validity.IOC}, "EXCHANGE_NO_LIQUIDITY", "CANCELLED"),
    "the band has moved away": ({"price": 2210_00}, "EXCHANGE_CANCELLED", "CANCELLED"),
    "the market has closed": ({}, "EXCHANGE_EXPIRED", "EXPIRED"),
    "the client asked for it": ({}, None, "CANCELLED"),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_order_says_why_the_exchange_ended_it(
    database: Database, redis: Redis, tmp_path: Path, ending: str
) -> None:
    """In its detail, in the list and in the record; what the client asked for needs no reason."""
    terms, code, status = ENDINGS[ending]
    async with brokerage(database, redis, tmp_path) as broker:
        user_id = await broker.client(100_000_00)
        placed = await broker.place(user_id, **({"quantity": 10, "price": 2400_00} | terms))
        assert (await broker.submit(placed)).decision == PASSED
        await heard(broker)
        if code == "EXCHANGE_CANCELLED":
            broker.flex(Side.BUY)
        elif code == "EXCHANGE_EXPIRED":
            broker.enter(MarketPhase.CLOSED)
        elif code is None:
            await broker.cancel(placed)
        await heard(broker)
    detail = await queries.find_order(database, user_id, placed.order_id)
    day = trade_date(placed.accepted_at_ns)
    (listed,) = await queries.list_orders(
        database, user_id, today=day, before_id=None, status=None, instrument_id=None, limit=5
    )
    assert detail is not None and detail == listed
    assert (detail["status"], detail["reject_code"]) == (status, code)
    last = (await queries.order_history(database, user_id, [placed.order_id]))[-1]
    assert (last["status"], last["detail"].get("reject_code")) == (status, code)
    if code is None:
        assert detail["reject_reason"] is None
    else:
        assert detail["reject_reason"].startswith(SENTENCES[RejectCode(code)])
        assert detail["reject_reason"] == last["detail"]["reject_reason"]
    if code == "EXCHANGE_CANCELLED":
        assert "PRICE_BAND" in detail["reject_reason"]


async def heard(broker: Brokerage) -> None:
    while await broker.send() or broker.line:
        await broker.arrive(*broker.line)
