"""The square-off goes by the market's own time: of a real day and a played one, in time, late, too late."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import date, time
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from activities.wind_down import SquareOffPlan
from config.sessions import broker_hours
from domain.orders import Product
from domain.sessions import SessionClass
from domain.time import ist_ns
from domain.wind_down import Selection
from storage.database import Database
from storage.risk import wind_downs
from tests.support.builders import an_instrument
from tests.support.orders import an_order_id, new_users
from workers.square_off import SquareOffWatch

FRIDAY, SATURDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 23)
CAS, CASH = SessionClass.CAS, SessionClass.CASH
NAME = "XW:RELIANCE"
NIGHT = ist_ns(date(2026, 11, 28), time(22))
"""A clock that no market time is read from."""
_ids = itertools.count(1)


@dataclass
class Watched:
    database: Database
    watch: SquareOffWatch
    started: list[SquareOffPlan]
    record_before: int
    """The last entry of the audit log before the test."""

    async def told(self, phase: str, day: date, at: time, *, played: bool = False) -> int:
        """The exchange announces a phase; the instant at which it did."""
        planned = ist_ns(day, at)
        since = NIGHT + next(_ids) if played else planned
        async with self.database.transaction() as conn:
            await conn.execute(
                "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns, scheduled_ns)"
                " VALUES ('XW', 'CASH', %s, %s, %s, %s) ON CONFLICT (exchange, segment, session_class)"
                " DO UPDATE SET phase = excluded.phase, since_ns = excluded.since_ns,"
                " scheduled_ns = excluded.scheduled_ns",
                (CAS, phase, since, planned),
            )
        return since

    async def keeps_no_hours(self) -> None:
        async with self.database.transaction() as conn:
            await conn.execute(
                "UPDATE market_phases SET phase = 'CONTINUOUS', scheduled_ns = NULL WHERE exchange = 'XW'"
            )

    async def look(self, now_ns: int) -> list[SquareOffPlan]:
        """What a watch that has just begun starts at this instant."""
        self.watch._paces.clear()
        before = len(self.started)
        await self.watch.look(now_ns)
        return self.started[before:]

    async def alerts(self) -> list[dict[str, Any]]:
        async with self.database.reading() as conn:
            found = await conn.execute(
                "SELECT detail FROM audit_log WHERE event = 'RISK_ALERT' AND detail->>'exchange' = 'XW'"
                " AND audit_id > %s ORDER BY audit_id",
                (self.record_before,),
            )
            return [row["detail"] for row in await found.fetchall()]


@pytest.fixture
async def watched(database: Database, redis: Redis) -> AsyncIterator[Watched]:
    listed = an_instrument(exchange="XW", instrument_id=NAME)
    facts = asdict(listed) | {"session_class": CAS}
    marks = ", ".join(f"%({name})s" for name in facts)
    async with database.transaction() as conn:
        await conn.execute(f"INSERT INTO instruments ({', '.join(facts)}) VALUES ({marks})".encode(), facts)
        found = await conn.execute("SELECT COALESCE(max(audit_id), 0) AS last FROM audit_log")
        row = await found.fetchone()
        assert row is not None
    started: list[SquareOffPlan] = []

    async def start(asked: SquareOffPlan) -> None:
        started.append(asked)

    try:
        yield Watched(database, SquareOffWatch(database, redis, broker_hours(), start), started, row["last"])
    finally:
        async with database.transaction() as conn:
            for table in ("market_phases", "missed_square_offs", "instruments"):
                await conn.execute(f"DELETE FROM {table} WHERE exchange = 'XW'".encode())
            for table in ("positions", "trades", "margin_holds", "orders"):
                await conn.execute(f"DELETE FROM {table} WHERE instrument_id = '{NAME}'".encode())


async def holding(database: Database, net: int, product: str = "MIS") -> int:
    """A client with an intraday position."""
    (user_id,) = await new_users(database, 1)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO positions (user_id, instrument_id, product, buy_quantity, sell_quantity)"
            " VALUES (%s, %s, %s, %s, %s)",
            (user_id, NAME, product, max(net, 0), max(-net, 0)),
        )
    return user_id


async def traded(database: Database, user_id: int, side: str, quantity: int, at_ns: int) -> None:
    """A trade of the day, booked."""
    column = "buy_quantity" if side == "BUY" else "sell_quantity"
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO trades (exchange, exec_id, order_id, user_id, instrument_id, transaction_type,"
            " product, quantity, price, unit_margin, realized_pnl, exchange_order_id, traded_at_ns,"
            " booked_at_ns)"
            " VALUES ('XW', %s, 1, %s, %s, %s, 'MIS', %s, 245000, 1, 0, '1', %s, 1)",
            (uuid4().hex, user_id, NAME, side, quantity, at_ns),
        )
        await conn.execute(
            f"UPDATE positions SET {column} = {column} + %s WHERE user_id = %s".encode(), (quantity, user_id)
        )


async def an_order(
    database: Database, user_id: int, side: str, quantity: int, status: str, held: int | None = None
) -> None:
    """An order of the client, with its hold unless that is not made yet."""
    order_id = an_order_id()
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product,"
            " validity, quantity, status, idempotency_key, created_at_ns, updated_at_ns)"
            " VALUES (%s, %s, %s, 'MARKET', %s, 'MIS', 'DAY', %s, %s, %s, 1, 1)",
            (order_id, user_id, NAME, side, quantity, status, uuid4()),
        )
        if held is not None:
            await conn.execute(
                "INSERT INTO margin_holds (order_id, user_id, instrument_id, product, transaction_type,"
                " open_quantity, close_quantity, unit_margin, state)"
                " VALUES (%s, %s, %s, 'MIS', %s, 0, %s, 1, 'BLOCKED')",
                (order_id, user_id, NAME, side, held),
            )


async def test_a_real_day_squares_off_from_its_hour_on(watched: Watched) -> None:
    await watched.told("CONTINUOUS", MONDAY, time(9, 15))
    user_id = await holding(watched.database, 0)
    await traded(watched.database, user_id, "BUY", 10, ist_ns(MONDAY, time(10)))
    assert await watched.look(ist_ns(MONDAY, time(14, 59, 59))) == []
    due = [SquareOffPlan(CAS, "2026-11-23", "XW")]
    assert await watched.look(ist_ns(MONDAY, time(15, 0))) == due
    assert await watched.look(ist_ns(MONDAY, time(15, 14))) == due
    assert await watched.alerts() == []


async def test_what_was_missed_is_made_up_for_while_the_market_takes_orders(watched: Watched) -> None:
    """Whoever was away from 15:00 to 15:23 squares off in the closing auction, or after the close."""
    await holding(watched.database, -10)
    due = [SquareOffPlan(CAS, "2026-11-23", "XW")]
    expected = {
        ("CLOSING_REFERENCE", time(15, 17)): [],
        ("CLOSING_AUCTION", time(15, 23)): due,
        ("CLOSING_AUCTION_LIMIT", time(15, 26)): [],
        ("CLOSING_MATCHING", time(15, 31)): [],
        ("CLOSED", time(15, 36)): [],
        ("POST_CLOSE", time(15, 52)): due,
    }
    for (phase, at), starts in expected.items():
        await watched.told(phase, MONDAY, at)
        assert await watched.look(ist_ns(MONDAY, at)) == starts, phase
    assert await watched.alerts() == []


async def test_a_played_day_squares_off_whatever_the_wall_clock_says(watched: Watched) -> None:
    await holding(watched.database, 10)
    await watched.told("CONTINUOUS", MONDAY, time(9, 15), played=True)
    assert await watched.look(NIGHT) == []
    await watched.told("CLOSING_REFERENCE", MONDAY, time(15, 15), played=True)
    assert await watched.look(NIGHT) == []
    await watched.told("CLOSING_AUCTION", MONDAY, time(15, 20), played=True)
    assert await watched.look(NIGHT) == [SquareOffPlan(CAS, "2026-11-23", "XW")]
    # An exchange that keeps no hours has no square-off, at whatever hour of the clock.
    await watched.keeps_no_hours()
    assert await watched.look(ist_ns(MONDAY, time(15, 10))) == []


async def test_what_the_market_cannot_take_back_is_an_alert_once_and_closed_when_it_opens(
    watched: Watched,
) -> None:
    user_id = await holding(watched.database, 10)
    await watched.told("CLOSED", FRIDAY, time(16, 0))
    for now_ns in (ist_ns(FRIDAY, time(16, 0, 1)), ist_ns(FRIDAY, time(20)), ist_ns(SATURDAY, time(12))):
        assert await watched.look(now_ns) == []
    (alert,) = await watched.alerts()
    assert alert["kind"] == "SQUARE_OFF_MISSED"
    assert alert["sentence"] == (
        "1 intraday positions of 1 clients in XW CAS were not squared off on 2026-11-20: the market takes no"
        " closing orders now. They are closed as soon as it does."
    )
    assert alert["instruments"] == [NAME]
    await watched.told("PRE_OPEN_ENTRY", MONDAY, time(9, 0))
    before_ns = ist_ns(FRIDAY, time(16, 0, 1))
    morning = ist_ns(MONDAY, time(9, 0, 1))
    assert await watched.look(morning) == [SquareOffPlan(CAS, "2026-11-20", "XW", before_ns)]
    await traded(watched.database, user_id, "SELL", 10, morning)
    assert await watched.look(morning) == []
    # What is opened in the new day is that day's.
    await traded(watched.database, user_id, "BUY", 25, morning)
    await watched.told("CONTINUOUS", MONDAY, time(9, 15))
    assert await watched.look(ist_ns(MONDAY, time(9, 15))) == []
    assert await watched.look(ist_ns(MONDAY, time(15, 0))) == [SquareOffPlan(CAS, "2026-11-23", "XW")]
    assert len(await watched.alerts()) == 1


async def test_two_who_watch_at_once_raise_one_alert(watched: Watched, redis: Redis) -> None:
    await holding(watched.database, 10)
    await watched.told("CLOSED", FRIDAY, time(16, 0))
    others = [SquareOffWatch(watched.database, redis, broker_hours(), watched.watch._start) for _ in range(4)]
    await asyncio.gather(*(one.look(ist_ns(FRIDAY, time(16, 1))) for one in others))
    assert len(await watched.alerts()) == 1


async def test_who_was_away_over_the_close_finds_the_next_morning_what_was_left(watched: Watched) -> None:
    """Nobody looked on Friday; on Monday ten are left of Friday, and a client has opened twenty more."""
    user_id = await holding(watched.database, 10)
    await holding(watched.database, 7, product="NRML")
    other = await holding(watched.database, 0)
    morning = ist_ns(MONDAY, time(9, 20))
    await traded(watched.database, user_id, "BUY", 20, morning)
    await traded(watched.database, other, "BUY", 5, morning)
    await watched.told("CONTINUOUS", MONDAY, time(9, 15))
    await watched.look(morning)
    (alert,) = await watched.alerts()
    assert (alert["day"], alert["positions"]) == ("2026-11-20", 1)
    midnight = ist_ns(MONDAY, time())
    assert await watched.look(morning) == [SquareOffPlan(CAS, "2026-11-20", "XW", midnight)]
    selection = Selection(exchange="XW", product=Product.MIS, carried_before_ns=midnight)
    (left,) = await wind_downs.open_positions(watched.database, selection)
    assert (left.user_id, left.net_quantity) == (user_id, 10)
    # The oldest is closed first: four sold are four of Friday's.
    await traded(watched.database, user_id, "SELL", 4, morning)
    (left,) = await wind_downs.open_positions(watched.database, selection)
    assert left.net_quantity == 6


async def test_a_played_day_s_left_over_is_closed_when_the_market_is_open_again(watched: Watched) -> None:
    await holding(watched.database, 10)
    await watched.told("CLOSED", MONDAY, time(16, 0), played=True)
    assert await watched.look(NIGHT) == []
    assert len(await watched.alerts()) == 1
    await watched.keeps_no_hours()
    assert await watched.look(NIGHT + 5) == [SquareOffPlan(CAS, "2026-11-23", "XW", NIGHT)]


async def test_a_day_without_regular_trading_has_no_square_off(watched: Watched) -> None:
    user_id = await holding(watched.database, 0)
    muhurat = date(2026, 11, 8)
    await traded(watched.database, user_id, "BUY", 5, ist_ns(muhurat, time(18, 30)))
    await watched.told("CONTINUOUS", muhurat, time(18, 15))
    assert await watched.look(ist_ns(muhurat, time(18, 59))) == []
    assert await watched.alerts() == []


async def test_what_an_order_is_closing_is_not_closed_again(watched: Watched) -> None:
    """A hold counts until the books know its end; an order that has none yet counts whole."""
    database, selection = watched.database, Selection(exchange="XW", product=Product.MIS)
    user_id = await holding(database, 10)
    steps: list[tuple[str, int, str, int | None, int]] = [
        ("SELL", 3, "OPEN", 3, 7),
        ("SELL", 2, "PENDING_VALIDATION", None, 5),
        ("BUY", 9, "OPEN", 9, 5),
        ("SELL", 4, "EXECUTED", 4, 1),
        ("SELL", 4, "REJECTED", None, 1),
        ("SELL", 6, "OPEN", 6, 0),
    ]
    for side, quantity, status, held, uncovered in steps:
        await an_order(database, user_id, side, quantity, status, held)
        (position,) = await wind_downs.open_positions(database, selection)
        assert (position.net_quantity, position.uncovered) == (10, uncovered)
    # In an auction they wait for their price; in the continuous market what rests closes nothing.
    async with database.transaction() as conn:
        await conn.execute("UPDATE orders SET status = 'EXECUTED' WHERE user_id = %s", (user_id,))
    await watched.told("CLOSING_AUCTION", MONDAY, time(15, 20))
    assert await watched.look(ist_ns(MONDAY, time(15, 21))) == []
    await watched.told("CONTINUOUS", MONDAY, time(9, 15))
    assert len(await watched.look(ist_ns(MONDAY, time(15, 21)))) == 1


async def test_a_client_s_order_that_rests_is_work_and_one_for_the_next_day_is_not(watched: Watched) -> None:
    user_id = await holding(watched.database, 0)
    await an_order(watched.database, user_id, "BUY", 5, "OPEN", 5)
    await watched.told("CONTINUOUS", MONDAY, time(9, 15))
    assert len(await watched.look(ist_ns(MONDAY, time(15, 1)))) == 1
    await watched.told("CLOSED", MONDAY, time(16, 0))
    assert await watched.look(ist_ns(MONDAY, time(20))) == []
    await watched.told("PRE_OPEN_ENTRY", date(2026, 11, 25), time(9, 0))
    assert await watched.look(ist_ns(date(2026, 11, 25), time(9, 1))) == []
    assert await watched.alerts() == []
