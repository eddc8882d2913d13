"""Whoever is killed: a client that comes back with its cursor has the record, each update once, in order."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import aiohttp
import msgspec

from bus import order_updates
from bus.redis_client import open_redis
from config.settings import Settings
from stack.supervision import Supervisor
from storage.database import Database
from storage.update_refills import refilling
from tests.realtime.test_update_refills import commit
from tests.support.eventually import eventually
from tests.support.orders import new_users
from tests.support.stream import STREAM, GatewayProcess, Told, a_token

KILLS = ["valkey", "gateway", "api", "valkey"]
FAR = order_updates.KEPT_UPDATES - 100


class Wanderer(Told):
    """A client over plain WebSockets that comes back with its cursor, whatever ends its connection."""

    def __init__(self, gateway: GatewayProcess, token: str) -> None:
        super().__init__()
        self._url, self._token = f"{gateway.url}{STREAM}/ws", token
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self.cursor = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession() as http:
            while True:
                with suppress(aiohttp.ClientError, OSError):
                    async with http.ws_connect(self._url) as self._websocket:
                        auth = {"action": "auth", "token": self._token, "after_seq": self.cursor}
                        await self._websocket.send_str(msgspec.json.encode(auth).decode())
                        async for message in self._websocket:
                            body = msgspec.json.decode(message.data)
                            self.all.append((body["type"], body))
                            self.cursor = max([self.cursor, *self.seqs[-1:]])
                await asyncio.sleep(0.05)

    async def come_again(self) -> None:
        """With a new connection."""
        if self._websocket is not None:
            await self._websocket.close()


class Refilling:
    """The API's part, killed and started."""

    def __init__(self, redis_dsn: str, database: Database) -> None:
        self._redis_dsn, self._database = redis_dsn, database
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        redis = await self._stack.enter_async_context(open_redis(self._redis_dsn))
        await self._stack.enter_async_context(refilling(redis, self._database))

    async def kill(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def running(*clients: Wanderer) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(client.run()) for client in clients]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_clients_end_with_the_record_whoever_is_killed(
    servers: Settings, database: Database, own_valkey: tuple[Settings, Supervisor]
) -> None:
    settings, supervisor = own_valkey
    changes = {"redis_url": settings.redis_dsn, "realtime_id": "realtime-3", "stream_heartbeat_seconds": 0.5}
    ours = servers.model_copy(update=changes | {"stream_port": servers.stream_port + 3})
    gateway, api, rng = GatewayProcess(ours), Refilling(settings.redis_dsn, database), random.Random(8)
    (user,) = await new_users(database, 1)
    await commit(database, user, 40)
    await asyncio.to_thread(gateway.start)
    steady, restless = (Wanderer(gateway, a_token(ours, user)) for _ in range(2))

    def is_near(last_seq: int) -> bool:
        return last_seq - min(steady.cursor, restless.cursor) < FAR

    async def trade(redis_dsn: str) -> None:
        last_seq = 0
        async with open_redis(redis_dsn) as redis:
            while True:
                # A client that is further behind than a tail is long is told of a gap, rightly.
                await eventually(partial(is_near, last_seq), within=90)
                told = await commit(database, user, rng.randrange(1, 8))
                last_seq = told[-1].body["seq"]
                # Every now and then the publisher dies first, or Redis is away.
                await order_updates.publish(redis, told if rng.random() < 0.8 else [])
                await asyncio.sleep(0.1)

    async def kill(name: str) -> None:
        if name == "api":
            await api.kill()
        elif name == "gateway":
            await asyncio.to_thread(gateway.kill9)
            await asyncio.to_thread(gateway.start)
        else:
            os.kill(supervisor.pid("valkey"), signal.SIGKILL)
            await eventually(lambda: supervisor.pid("valkey") == 0)
            await asyncio.to_thread(supervisor.start, "valkey")
            await asyncio.to_thread(supervisor.wait_healthy, "valkey")
        # Within the second in which the others begin anew.
        await restless.come_again()
        await asyncio.sleep(rng.random() / 2)
        if name == "api":
            await api.start()

    await api.start()
    try:
        async with running(steady, restless):
            trading = asyncio.create_task(trade(settings.redis_dsn))
            for name in KILLS:
                await asyncio.sleep(rng.random())
                await kill(name)
            trading.cancel()
            with suppress(asyncio.CancelledError):
                await trading
            async with database.reading() as conn:
                cursor = await conn.execute(
                    "SELECT last_seq FROM update_sequences WHERE user_id = %s", (user,)
                )
                last_seq = (await cursor.fetchall())[0]["last_seq"]
            for client in (steady, restless):
                await eventually(lambda client=client: client.cursor == last_seq, within=30)  # type: ignore[misc]
                assert client.of("gap") == [], "the record has them all"
                assert client.seqs == list(range(1, last_seq + 1)), "each once, in order"
    finally:
        await api.kill()
        gateway.stop()
