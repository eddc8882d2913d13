"""A day while its processes are killed: clients end with its last values and miss no order update.

Gateway, distributor and Redis get kill -9 in turn and come back, the exchange goes on and orders change; a
stock client reconnects, resumes after its cursor and subscribes again, as docs/stream.md says.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bus import order_updates
from bus.redis_client import open_redis
from config.settings import Settings
from domain.money import rupees
from stack.supervision import Supervisor
from storage.database import Database
from storage.update_refills import refilling
from tests.realtime.test_distributor_process import Distributor
from tests.realtime.test_ticks import ltps
from tests.realtime.test_update_refills import commit
from tests.support.eventually import eventually
from tests.support.orders import new_users
from tests.support.stream import STREAM, GatewayProcess, SocketIoClient, a_token
from tests.support.tick_day import MASTER, PlayedExchange, generated_day

EVERYTHING = {instrument.token: instrument.instrument_id for instrument in MASTER.values()}
UPDATE_SECONDS = 0.1


class Follower(SocketIoClient):
    """Comes back by itself: resumes after its cursor, subscribes again."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        self.connections = 0
        self.sio.on("connect", self._connected)

    async def _connected(self) -> None:
        self.connections += 1
        await self.sio.emit("subscribe", {"instruments": list(EVERYTHING.values()), "mode": "ltp"})

    def auth(self) -> dict[str, Any]:
        return {"token": self._token, "after_seq": max(self.seqs, default=0)}


@asynccontextmanager
async def following(gateway: GatewayProcess, token: str) -> AsyncIterator[Follower]:
    client = Follower(token)
    await client.sio.connect(gateway.url, auth=client.auth, socketio_path=STREAM, transports=["websocket"])
    try:
        yield client
    finally:
        await client.sio.shutdown()


async def test_a_client_ends_with_the_days_last_values_and_every_update_whoever_is_killed(
    servers: Settings, database: Database, own_valkey: tuple[Settings, Supervisor], tmp_path: Path
) -> None:
    its_settings, supervisor = own_valkey
    name, port = "realtime-2", servers.stream_port + 2
    changes = {"redis_url": its_settings.redis_dsn, "realtime_id": name, "stream_port": port}
    ours = servers.model_copy(update=changes)
    gateway, distributor = GatewayProcess(ours), Distributor(ours)
    await asyncio.to_thread(gateway.start)
    await distributor.ready()
    (user,) = await new_users(database, 1)
    exchange, committed = PlayedExchange(ours, generated_day(tmp_path)), 0
    try:
        async with (
            open_redis(ours.redis_dsn) as redis,
            refilling(redis, database),
            following(gateway, a_token(ours, user)) as client,
        ):

            async def change_orders() -> None:
                nonlocal committed
                while True:
                    told = await commit(database, user, 1)
                    committed += 1
                    # Every third time its publisher dies first.
                    await order_updates.publish(redis, told if committed % 3 else [])
                    await asyncio.sleep(UPDATE_SECONDS)

            exchange.slowly.set()
            playing = asyncio.create_task(asyncio.to_thread(exchange.play))
            changing = asyncio.create_task(change_orders())
            await eventually(lambda: len(client.seqs) > 3 and ltps(client), within=30)
            await asyncio.to_thread(gateway.kill9)
            await asyncio.to_thread(gateway.start)
            await eventually(lambda: client.connections > 1, within=30)
            distributor.end(signal.SIGKILL)
            distributor = Distributor(ours)
            await distributor.ready()
            os.kill(supervisor.pid("valkey"), signal.SIGKILL)
            await eventually(lambda: supervisor.pid("valkey") == 0)
            await asyncio.to_thread(supervisor.start, "valkey")
            assert not playing.done(), "the exchange speaks through all of it"
            exchange.slowly.clear()
            come_back = client.connections
            await playing
            changing.cancel()

            def is_whole() -> bool:
                exchange.beat()
                known = ltps(client)
                last = {EVERYTHING[token]: float(rupees(price)) for token, price in exchange.last.items()}
                return {each: known.get(each) for each in last} == last

            await eventually(is_whole, within=30)
            await eventually(lambda: len(client.seqs) >= committed, within=15)
            # The last change may have been ended between its commit and its count.
            assert len(client.seqs) - committed in (0, 1)
            assert client.seqs == list(range(1, len(client.seqs) + 1)), "each once, in order"
            assert client.of("gap") == [] and len(exchange.last) > 40
            assert client.connections == come_back, "a dead Redis ends no connection"
    finally:
        exchange.close()
        distributor.end(signal.SIGTERM)
        gateway.stop()
