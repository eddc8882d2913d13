"""The record: numbered without gaps per user, append only, told to the user's stream."""

import asyncio
import itertools
import time
from datetime import date

import psycopg
import pytest
from redis.asyncio import Redis

from bus import order_updates
from domain.orders import OrderEvent, OrderStatus
from domain.time import rfc3339
from storage import audit
from storage.audit import AuditEntry, Origin
from storage.database import Database
from storage.risk import bans
from storage.risk.trading_states import RiskAction
from tests.storage.test_margin_book import open_account

_users = itertools.count(950_000)


def an_entry(user_id: int, order_id: int | None = 1) -> AuditEntry:
    return AuditEntry(
        occurred_at_ns=time.time_ns(),
        user_id=user_id,
        event=OrderEvent.ACCEPTED,
        actor="client",
        order_id=order_id,
        status=OrderStatus.PENDING_VALIDATION,
        detail={"quantity": 100},
    )


async def test_racing_writers_number_a_users_updates_without_gaps(database: Database) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 0)

    async def write() -> list[int]:
        async with database.transaction() as conn:
            appended = await audit.append(conn, [an_entry(user_id), an_entry(user_id)])
        return [update.body["seq"] for update in appended]

    seqs = await asyncio.gather(*(write() for _ in range(20)))
    assert sorted(itertools.chain(*seqs)) == list(range(1, 41))


async def test_a_rolled_back_entry_leaves_no_gap(database: Database) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 0)
    with pytest.raises(RuntimeError, match="crash"):
        async with database.transaction() as conn:
            await audit.append(conn, [an_entry(user_id)])
            raise RuntimeError("crash")
    async with database.transaction() as conn:
        [update] = await audit.append(conn, [an_entry(user_id)])
    assert update.body["seq"] == 1


async def test_a_ban_list_is_on_record_with_who_brought_it_and_why(database: Database) -> None:
    day, host = date(2031, 3, 3), Origin(device="a desk's machine")
    word = RiskAction("cli:asha", 0, "The exchange's list fo_secban.csv", host)
    async with database.transaction() as conn:
        await bans.replace(conn, day, ["NSE:TCS", "NSE:SBIN", "NSE:TCS"], word)
        found = await conn.execute(
            "SELECT actor, device, detail FROM audit_log WHERE event = 'BANS_SET'"
            " ORDER BY audit_id DESC LIMIT 1"
        )
        row = await found.fetchone()
    assert row is not None
    assert (row["actor"], row["device"]) == ("cli:asha", "a desk's machine")
    assert row["detail"] == {
        "trade_date": "2031-03-03",
        "underlyings": ["NSE:SBIN", "NSE:TCS"],
        "reason": "The exchange's list fo_secban.csv",
    }


async def test_the_record_can_only_grow(database: Database) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 0)
    async with database.transaction() as conn:
        await audit.append(conn, [an_entry(user_id)])
    for change in ("UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            async with database.transaction() as conn:
                await conn.execute(f"{change} WHERE user_id = %s".encode(), (user_id,))


async def test_an_entry_without_an_order_is_recorded_but_not_told(database: Database) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 0)
    async with database.transaction() as conn:
        assert await audit.append(conn, [an_entry(user_id, order_id=None)]) == []


async def test_an_update_reaches_the_users_channel_and_its_tail_once(
    database: Database, redis: Redis
) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 0)
    async with database.transaction() as conn:
        entry = an_entry(user_id, order_id=230215000012345)
        appended = await audit.append(conn, [entry])
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(order_updates.channel(user_id))
        await order_updates.publish(redis, appended)
        await order_updates.publish(redis, appended)
        frames = [message async for message in first_messages(pubsub, 2)]
    assert b'"order_id":"230215000012345"' in frames[0]
    assert f'"timestamp":"{rfc3339(entry.occurred_at_ns)}"'.encode() in frames[0]
    assert await redis.zcard(order_updates.tail(user_id)) == 1


async def test_a_movement_that_does_not_balance_is_refused_at_commit(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="does not sum to zero"):
        async with database.transaction() as conn:
            await conn.execute(
                """INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
                   VALUES ('m', 'bank', 5, 0)"""
            )


async def first_messages(pubsub, count: int):  # type: ignore[no-untyped-def]
    """The first data messages of a subscription."""
    async for message in pubsub.listen():
        if message["type"] == "message":
            yield message["data"]
            count -= 1
            if not count:
                return
