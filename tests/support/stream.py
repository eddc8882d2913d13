"""A realtime gateway under a test's hand, and clients that keep all they are told."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import socketio
from redis import Redis as BlockingRedis

from bus.health import read_one
from bus.order_updates import OrderUpdate
from config import tokens
from config.settings import Settings
from tests.support import frames
from tests.support.edge import start, until
from tests.support.eventually import eventually

STREAM = "/api/v1/stream"
SETTINGS = ("realtime_id", "redis_url", "stream_port", "stream_heartbeat_seconds", "stream_behind_seconds")
"""What one gateway may have other than the next."""


def a_token(settings: Settings, user_id: int, *, expires_in: int | None = None) -> str:
    """A client's token, perhaps one that ends sooner than the session would."""
    now = int(time.time())
    issued_at = now if expires_in is None else now + expires_in - settings.session_hours * 3600
    return tokens.issue(settings, user_id, f"TEST{user_id}", "CLIENT", issued_at)[0]


def an_update(user_id: int, seq: int, **changes: Any) -> OrderUpdate:
    body = {
        "type": "order_update",
        "seq": seq,
        "order_id": str(230215000000000 + seq),
        "event": "ACCEPTED",
        "status": "OPEN",
        "timestamp": "2024-02-15T15:55:00.123456789Z",
    }
    return OrderUpdate(user_id, body | changes)


class GatewayProcess:
    """`hundi realtime` as a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = "from workers.realtime import main; main()"
        found = {name: getattr(self.settings, name) for name in SETTINGS}
        changes = {name: str(value) for name, value in found.items() if value is not None}
        process = self.process = start(self.settings, program, **changes)
        with BlockingRedis.from_url(self.settings.redis_dsn) as redis:
            until(lambda: (h := read_one(redis, self.settings.realtime_id)) and h.pid == process.pid)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port('stream')}"


class Told:
    """What a client was told, in order: (event, body)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []
        self.misfits: list[str] = []
        """Frames that are not of their type."""

    def add(self, event: str, body: Any) -> None:
        self.all.append((event, body))
        if (misfit := frames.fault(event, body)) is not None:
            self.misfits.append(misfit)

    def of(self, event: str) -> list[Any]:
        return [body for name, body in self.all if name == event]

    @property
    def seqs(self) -> list[int]:
        return [body["seq"] for body in self.of("order_update")]


class SocketIoClient(Told):
    """The stock python-socketio client."""

    def __init__(self) -> None:
        super().__init__()
        self.sio = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self.sio.on("*", self.add)
        self.reasons: list[str] = []
        self.sio.on("disconnect", self.reasons.append)

    async def ask(self, verb: str, message: object) -> Any:
        answer = await self.sio.call(verb, message, timeout=10)
        if (misfit := frames.answer_fault(answer)) is not None:
            self.misfits.append(misfit)
        return answer


@asynccontextmanager
async def socket_io(
    gateway: GatewayProcess, token: str, *transports: str, **auth: Any
) -> AsyncIterator[SocketIoClient]:
    """Connected until the context is left."""
    client = SocketIoClient()
    await client.sio.connect(
        gateway.url,
        auth={"token": token, **auth},
        transports=list(transports) or None,
        socketio_path=STREAM,
        wait_timeout=10,
    )
    try:
        yield client
    finally:
        await client.sio.shutdown()
    assert client.misfits == []


class PlainClient(Told):
    """JSON frames over aiohttp's WebSocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self.websocket = websocket

    async def say(self, **frame: Any) -> None:
        await self.websocket.send_str(msgspec.json.encode(frame).decode())

    async def ask(self, action: str, **members: Any) -> Any:
        number = len(self.of("answer"))
        await self.say(action=action, id=number, **members)
        await eventually(lambda: len(self.of("answer")) > number, every=0.01)
        answer = self.of("answer")[number]
        assert answer["id"] == number
        return answer

    async def listen(self) -> None:
        async for message in self.websocket:
            body = msgspec.json.decode(message.data)
            self.add(body["type"], body)


@asynccontextmanager
async def plain(gateway: GatewayProcess, **options: Any) -> AsyncIterator[PlainClient]:
    """Connected, and not signed in."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{gateway.url}{STREAM}/ws", **options) as websocket,
    ):
        client = PlainClient(websocket)
        listening = asyncio.create_task(client.listen())
        try:
            yield client
        finally:
            listening.cancel()
        assert client.misfits == []
