"""A cursor is kept: nothing at or below it comes again, and nothing above it is called lost too early."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from redis.asyncio import Redis

from bus import background, order_updates
from bus.redis_client import open_redis
from config.settings import Settings
from config.tokens import Session
from realtime.stream import record_queries
from realtime.stream.clients import Client, Closing
from realtime.stream.updates import Updates
from stack.supervision import Supervisor
from storage.database import Database
from storage.update_refills import refilling
from tests.realtime.test_update_refills import commit
from tests.support.eventually import eventually
from tests.support.orders import new_users
from tests.support.stream import GatewayProcess, SocketIoClient, Told, a_token, plain, socket_io
from tests.support.wires import KeptWire


async def seqs_are(told: Told, *seqs: int) -> None:
    await eventually(lambda: told.seqs == list(seqs))


async def test_a_user_of_whom_nothing_is_known_waits_for_the_record_and_is_told_nothing_twice(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    token = a_token(gateway.settings, user)
    await commit(database, user, 183)
    async with socket_io(gateway, token, after_seq=183) as resuming, socket_io(gateway, token) as new:
        for client in (resuming, new):
            await eventually(partial(client.of, "session"), within=20)
            assert [session["seq"] for session in client.of("session")] == [None]
            assert client.of("heartbeat")[-1]["seq"] is None
        async with refilling(redis, database):
            for client in (resuming, new):
                await eventually(lambda client=client: client.of("session")[-1]["seq"] == 183)  # type: ignore[misc]
            await commit(database, user, 1)
            for client in (resuming, new):
                await seqs_are(client, 184)
                assert client.of("gap") == []


async def test_a_question_that_nobody_heard_is_asked_again(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    committed = await commit(database, user, 20)
    await order_updates.publish(redis, committed)
    async with socket_io(gateway, a_token(gateway.settings, user)) as client, plain(gateway) as late:
        await eventually(partial(client.of, "session"))
        await redis.delete(order_updates.tail(user))
        await late.ask("auth", token=a_token(gateway.settings, user), after_seq=2)
        assert await client.ask("resume", {"after_seq": 5}) == {"ok": True, "seq": None}
        async with refilling(redis, database):
            await seqs_are(client, *range(6, 21))
            await seqs_are(late, *range(3, 21))
        assert client.of("gap") == late.of("gap") == []


async def test_a_cursor_ahead_of_the_record_is_refused(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    token = a_token(gateway.settings, user)
    await order_updates.publish(redis, await commit(database, user, 3))
    async with refilling(redis, database), socket_io(gateway, token) as client, plain(gateway) as frames:
        await eventually(partial(client.of, "session"))
        refusal = await client.ask("resume", {"after_seq": 1000})
        assert (refusal["ok"], refusal["code"]) == (False, "CURSOR_AHEAD")
        await frames.ask("auth", token=token, after_seq=4)
        await eventually(lambda: frames.websocket.closed)
        assert [closing["code"] for closing in frames.of("closing")] == ["CURSOR_AHEAD"]
        assert frames.websocket.close_code == 1008
        await order_updates.publish(redis, await commit(database, user, 1))
        await seqs_are(client, 4)


async def test_a_resume_that_turns_out_to_be_ahead_ends_the_connection(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    await order_updates.publish(redis, await commit(database, user, 3))
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(partial(client.of, "session"))
        assert await client.ask("resume", {"after_seq": 1000}) == {"ok": True, "seq": None}
        async with refilling(redis, database):
            await eventually(lambda: [c["code"] for c in client.of("closing")] == ["CURSOR_AHEAD"])


async def test_a_tail_that_is_behind_the_record_sends_nothing_below_the_cursor(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    token = a_token(gateway.settings, user)
    committed = await commit(database, user, 20)
    await order_updates.publish(redis, committed[:10])
    async with refilling(redis, database), socket_io(gateway, token, after_seq=18) as client:
        await seqs_are(client, 19, 20)
        assert client.of("session")[0]["seq"] >= 18
        await order_updates.publish(redis, await commit(database, user, 1))
        await seqs_are(client, 19, 20, 21)
        assert client.of("gap") == []


async def test_two_resumes_at_once_are_each_given_all_that_they_ask_for(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 1))[0]
    token = a_token(gateway.settings, user)
    await order_updates.publish(redis, await commit(database, user, 60))
    async with refilling(redis, database), AsyncExitStack() as stack:
        clients: list[SocketIoClient] = [
            await stack.enter_async_context(socket_io(gateway, token)) for _ in range(6)
        ]
        for client in clients:
            await eventually(partial(client.of, "session"))
        await redis.delete(order_updates.tail(user))
        cursors = (50, 0, 59, 10, 30, 58)
        await asyncio.gather(
            *(c.ask("resume", {"after_seq": cursor}) for c, cursor in zip(clients, cursors, strict=True))
        )
        for client, cursor in zip(clients, cursors, strict=True):
            await seqs_are(client, *range(cursor + 1, 61))
            assert client.of("gap") == []


@asynccontextmanager
async def listening(redis: Redis) -> AsyncIterator[Updates]:
    opened = Updates(redis, 0.5)
    async with background.running(opened.run(), "updates"):
        yield opened


async def test_time_in_which_redis_is_away_loses_no_update(
    own_valkey: tuple[Settings, Supervisor], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, supervisor = own_valkey
    monkeypatch.setattr(record_queries, "HEAL_SECONDS", 2.0)
    user = (await new_users(database, 1))[0]
    committed = await commit(database, user, 5)
    wire = KeptWire()
    client, asking = (Client(Session(user, "x", "CLIENT", 0), told) for told in (wire, KeptWire()))
    async with open_redis(settings.redis_dsn) as redis, listening(redis) as opened:
        await order_updates.publish(redis, committed[:3])
        assert await opened.join(client, None) == await opened.join(asking, None) == 3
        await order_updates.publish(redis, committed[4:])
        os.kill(supervisor.pid("valkey"), signal.SIGKILL)
        replay = asyncio.create_task(opened.replay(asking, 1))
        await eventually(lambda: supervisor.pid("valkey") == 0)
        await asyncio.sleep(2.5)
        await asyncio.to_thread(supervisor.start, "valkey")
        await asyncio.to_thread(supervisor.wait_healthy, "valkey")
        async with refilling(redis, database):
            await eventually(lambda: wire.seqs == [4, 5])
            assert await replay in (3, 5)
            await eventually(lambda: asking.wire.seqs == [2, 3, 4, 5])  # type: ignore[attr-defined]
    assert wire.closings == list[Closing]()
    assert wire.of("gap") == asking.wire.of("gap") == []  # type: ignore[attr-defined]
