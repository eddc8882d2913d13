"""What Redis lost, or nobody published, still reaches the client: from the record."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from bus import order_updates
from bus.order_updates import OrderUpdate
from bus.redis_client import open_redis
from domain.orders import OrderEvent
from storage import audit
from storage.audit import AuditEntry
from storage.database import Database, open_database
from storage.update_refills import refilling
from tests.support.eventually import eventually
from tests.support.market import Market
from tests.support.orders import new_users
from tests.support.stream import GatewayProcess, a_token, socket_io


@pytest_asyncio.fixture
async def refills(database: Database, redis: Redis) -> AsyncIterator[None]:
    async with refilling(redis, database):
        yield


async def commit(database: Database, user_id: int, number: int) -> list[OrderUpdate]:
    """Updates on record that nobody has published."""
    async with database.transaction() as conn:
        detail = {"text": "x", "quantity": 1}
        entry = AuditEntry(time.time_ns(), user_id, OrderEvent.CHANGED, "test", order_id=1, detail=detail)
        return await audit.append(conn, [entry] * number)


async def test_an_update_whose_publisher_died_after_the_commit_arrives_all_the_same(
    gateway: GatewayProcess, database: Database, redis: Redis, refills: None
) -> None:
    user = (await new_users(database, 1))[0]
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(lambda: client.of("session"))
        committed = await commit(database, user, 3)
        await eventually(lambda: client.of("order_update") == [update.body for update in committed])
        committed += await commit(database, user, 2)
        await order_updates.publish(redis, committed[-1:])
        await eventually(lambda: client.seqs == [1, 2, 3, 4, 5], within=2)
        assert client.of("gap") == []


async def test_a_cursor_older_than_the_tail_that_redis_lost_is_served_from_the_record(
    gateway: GatewayProcess, database: Database, redis: Redis, refills: None
) -> None:
    user = (await new_users(database, 1))[0]
    await order_updates.publish(redis, await commit(database, user, 20))
    await redis.delete(order_updates.tail(user))
    async with socket_io(gateway, a_token(gateway.settings, user), after_seq=5) as client:
        await eventually(lambda: client.seqs == list(range(6, 21)))
        await redis.delete(order_updates.tail(user))
        assert (await client.ask("resume", {"after_seq": 18}))["seq"] == 20
        assert client.seqs[-2:] == [19, 20]
        assert client.of("gap") == []


async def test_sockets_outlive_redis_and_are_told_afterwards_what_they_missed(market: Market) -> None:
    stream, valkey = GatewayProcess(market.settings), market.process("valkey")
    async with open_database(market.settings.postgres_dsn) as database:
        user = (await new_users(database, 1))[0]
        token = a_token(market.settings, user)
        async with socket_io(stream, token) as client:
            await eventually(lambda: client.of("session"))
            async with open_redis(market.settings.redis_dsn) as redis:
                await order_updates.publish(redis, await commit(database, user, 2))
            await eventually(lambda: client.seqs == [1, 2])
            await asyncio.to_thread(valkey.kill9)
            await commit(database, user, 3)
            await asyncio.to_thread(valkey.start)
            await eventually(lambda: client.seqs == [1, 2, 3, 4, 5], within=30)
            assert client.reasons == []
            await asyncio.to_thread(market.process("realtime-0").kill9)
            async with open_redis(market.settings.redis_dsn) as redis:
                await order_updates.publish(redis, await commit(database, user, 1))
            await asyncio.to_thread(market.process("realtime-0").start)
        await asyncio.to_thread(market.process("realtime-0").wait_healthy)
        async with socket_io(stream, token, after_seq=client.seqs[-1]) as again:
            await eventually(lambda: again.seqs == [6])
