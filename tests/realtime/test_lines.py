"""WebSocket lines on a real socket, without the gateway: what is followed, when, and who is cut off."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode

from bus.background import running
from realtime.websocket import connection as line_module
from realtime.websocket import connections as lines_module
from realtime.websocket.connection import WAITING_BYTES_MAX, WebSocketConnection
from realtime.websocket.connections import WebSocketConnections
from realtime.websocket.frames import PING, text_frame
from tests.support.eventually import eventually


class Echo:
    """Answers each message after a moment, and dies of `die`."""

    ping = PING

    def __init__(self, line: WebSocketConnection) -> None:
        self.line = line
        self.gone_times = 0
        self.followed: list[str | bytes] = []

    async def follow(self, message: str | bytes) -> None:
        self.followed.append(message)
        await asyncio.sleep(0.001)
        if message == "die":
            raise ValueError(message)
        self.line.write(text_frame(str(message).encode()))

    async def gone(self) -> None:
        self.gone_times += 1


class Front:
    def __init__(self) -> None:
        self.echoes: list[Echo] = []

    async def asked(self, line: WebSocketConnection, path: str, query: str) -> None:
        if path == "/broken":
            raise ValueError(path)
        if path != "/echo":
            line.refuse(HTTPStatus.NOT_FOUND, f"no {path}, {query}")
            return
        self.echoes.append(Echo(line))
        line.accept(self.echoes[-1])

    @property
    def gone(self) -> list[int]:
        return [echo.gone_times for echo in self.echoes]


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Front, str]]:
    front = Front()
    lines = WebSocketConnections(front.asked)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(WebSocketConnection, lines, server_state=state), "127.0.0.1", 0)
    async with running(lines.run(), "pulse"):
        yield front, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await eventually(lambda: not state.connections)


async def test_messages_are_followed_in_order_and_the_line_ends_once() -> None:
    async with served() as (front, url), aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{url}/echo") as websocket:
            said = [str(number) for number in range(150)]
            for message in said:
                await websocket.send_str(message)
            assert [(await websocket.receive_str()) for _ in said] == said
        await eventually(lambda: front.gone == [1])


async def test_a_message_that_breaks_its_receiver_costs_the_connection() -> None:
    async with (
        served() as (front, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/echo") as websocket,
        http.ws_connect(f"{url}/echo") as other,
    ):
        await websocket.send_str("die")
        message = await websocket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, CloseCode.POLICY_VIOLATION)
        await other.send_str("alive")
        assert await other.receive_str() == "alive"
        await eventually(lambda: front.gone[0] == 1)


async def test_who_asks_for_something_else_is_refused_over_http() -> None:
    async with served() as (front, url), aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{url}/other?a=1")
        assert refused.value.status == 404
        bad = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "12"}
        async with http.get(f"{url}/echo", headers=bad) as answer:
            assert answer.status == 400
        await eventually(lambda: front.gone == [1])


async def test_a_front_that_breaks_leaves_no_request_without_an_answer() -> None:
    async with served() as (_, url), aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{url}/broken")
        assert refused.value.status == 400


async def test_pings_of_a_client_that_is_behind_are_not_answered() -> None:
    async with (
        served() as (front, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/echo", autoping=False, max_msg_size=0) as websocket,
    ):
        transport: Any = websocket.get_extra_info("transport") or websocket._writer.transport
        transport.pause_reading()
        line = front.echoes[0].line
        while line._transport.get_write_buffer_size() < WAITING_BYTES_MAX / 2:
            line.write(text_frame(b"x" * 10_000))
            await asyncio.sleep(0)
        for _ in range(20):
            await websocket.ping(b"p")
        await websocket.send_str("after the pings")
        await eventually(lambda: front.echoes[0].followed)
        transport.resume_reading()
        kinds = set()
        while (message := await websocket.receive()).data != "after the pings":
            kinds.add(message.type)
        assert kinds == {aiohttp.WSMsgType.TEXT}


async def test_a_client_that_does_not_read_is_cut_off_whatever_it_is_sent() -> None:
    async with served() as (front, url), aiohttp.ClientSession() as http:
        websocket = await http.ws_connect(f"{url}/echo")
        transport: Any = websocket.get_extra_info("transport") or websocket._writer.transport
        transport.pause_reading()
        line = front.echoes[0].line
        frame, waiting = text_frame(b"x" * 100_000), 0
        for _ in range(200):
            line.write(frame)
            waiting = max(waiting, line._transport.get_write_buffer_size())
        assert not line.is_open and waiting <= WAITING_BYTES_MAX + len(frame)
        await eventually(lambda: front.gone == [1])
        transport.abort()


async def test_a_client_that_says_goodbye_and_reads_nothing_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_module, "GOODBYE_SECONDS", 0.2)
    async with served() as (front, url), aiohttp.ClientSession() as http:
        websocket = await http.ws_connect(f"{url}/echo", autoclose=False)
        transport: Any = websocket.get_extra_info("transport") or websocket._writer.transport
        transport.pause_reading()
        line = front.echoes[0].line
        while not line.is_behind:
            line.write(text_frame(b"x" * 10_000))
        transport.write(Frame(Opcode.CLOSE, b"").serialize(mask=True))
        await eventually(lambda: front.gone == [1])
        transport.abort()


@pytest.mark.waits
async def test_a_silent_line_is_cut_and_one_that_answers_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "PULSE_SECONDS", 1.5)
    async with (
        served() as (front, url),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/echo", autoping=False) as silent,
        http.ws_connect(f"{url}/echo") as living,
    ):
        listening = asyncio.create_task(living.receive())
        began = time.monotonic()
        assert (await silent.receive()).type is aiohttp.WSMsgType.PING
        assert (await silent.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert time.monotonic() - began < 10
        await eventually(lambda: front.gone == [1, 0])
        await asyncio.sleep(3)
        assert front.gone == [1, 0]
        assert not listening.done()
        listening.cancel()


async def test_the_process_ends_its_lines_as_a_restart() -> None:
    async with served() as (front, url), aiohttp.ClientSession() as http:
        websocket = await http.ws_connect(f"{url}/echo")
        front.echoes[0].line.shutdown()
        message = await websocket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, CloseCode.SERVICE_RESTART)
        await eventually(lambda: front.gone == [1])
