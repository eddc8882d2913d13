"""Connections in which nobody signs in: told why, ended in time, and few of one address."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from uvicorn import Config, Server
from websockets.frames import CloseCode, Opcode

from bus.background import running
from config.settings import Settings
from realtime.app import Stream
from realtime.stream import socket_io, strangers
from realtime.stream.gateway import Gateway
from realtime.stream.messages import MessageRefused
from realtime.stream.strangers import SIGN_IN_SECONDS, Strangers
from realtime.websocket.connection import WebSocketConnection
from tests.support.eventually import eventually
from tests.support.raw_stream import (
    PollingClient,
    client_frame,
    goodbye,
    handshake,
    polling,
    raw_websocket,
)
from tests.support.stream import STREAM, GatewayProcess, a_token, plain

PLAIN, SOCKET_IO = f"{STREAM}/ws", f"{STREAM}/?EIO=4&transport=websocket"
SLACK_SECONDS = 5
_users = count(7_650_000)


class Here:
    """A gateway of this process, as far as clients need to know one."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings = settings.model_copy(update={"stream_port": port - settings.port_offset})
        self.url = f"http://{settings.host}:{port}"


@asynccontextmanager
async def served(servers: Settings, redis: Redis, *trusted: str) -> AsyncIterator[GatewayProcess]:
    gateway = Gateway(servers, redis, [])
    stream = Stream(gateway, trusted)
    config = Config(
        stream,
        host=servers.host,
        port=0,
        log_level="warning",
        lifespan="off",
        ws=partial(WebSocketConnection, stream.lines),  # type: ignore[arg-type]
        proxy_headers=bool(trusted),
        forwarded_allow_ips=list(trusted),
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    async with running(stream.run(), "stream"):
        serving = asyncio.create_task(server._serve())
        await eventually(lambda: server.started, every=0.01)
        here: object = Here(servers, server.servers[0].sockets[0].getsockname()[1])
        yield here  # type: ignore[misc]
        server.should_exit = True
        await serving


@asynccontextmanager
async def signed_in(gateway: GatewayProcess) -> AsyncIterator[PollingClient]:
    async with polling(gateway) as client:
        await client.sign_in(a_token(gateway.settings, next(_users)))
        yield client


async def test_whoever_does_not_sign_in_is_told_why_and_ended_in_time(gateway: GatewayProcess) -> None:
    refused = client_frame(Opcode.TEXT, b'40{"token":"nobody"}')
    async with (
        raw_websocket(gateway, PLAIN) as silent,
        raw_websocket(gateway, SOCKET_IO) as without_a_word,
        raw_websocket(gateway, SOCKET_IO) as turned_down,
        polling(gateway) as polls,
        polling(gateway) as polled_no_more,
        signed_in(gateway) as host,
        raw_websocket(gateway, f"{SOCKET_IO}&sid={host.session}") as never_follows,
    ):
        began = time.monotonic()
        turned_down[1].write(refused)
        never_follows[1].write(client_frame(Opcode.TEXT, b"2probe"))
        sockets = (silent, without_a_word, turned_down, never_follows)
        codes = ["AUTH_MISSING", "AUTH_MISSING", "AUTH_MISSING", "UPGRADE_MISSING"]
        polled = asyncio.create_task(polls.poll())
        told = await asyncio.gather(*(goodbye(reader) for reader, _ in sockets))
        assert told == [(CloseCode.POLICY_VIOLATION, code) for code in codes]
        assert json.loads((await polled)[0].removeprefix("44"))["data"]["code"] == "AUTH_MISSING"
        for reader, _ in sockets:
            assert await asyncio.wait_for(reader.read(), SLACK_SECONDS) == b"", "and it ends"
        assert time.monotonic() - began < SIGN_IN_SECONDS + SLACK_SECONDS
        assert (await polled_no_more.post("3"))[0] == 400
        assert (await host.post("3"))[0] == 200, "it has signed in"


async def test_an_address_has_only_so_many_connections_without_sign_in(
    servers: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "OF_ADDRESS_MAX", 5)
    async with served(servers, redis) as gateway, AsyncExitStack() as stack:
        polls = await stack.enter_async_context(polling(gateway))
        will_sign_in = await stack.enter_async_context(polling(gateway))
        for path in (PLAIN, SOCKET_IO, f"{SOCKET_IO}&sid={polls.session}"):
            await stack.enter_async_context(raw_websocket(gateway, path))
        for path in (PLAIN, SOCKET_IO, f"{SOCKET_IO}&sid={polls.session}"):
            answer = await refusal_of(gateway, path)
            assert answer.startswith("HTTP/1.1 429") and "Retry-After: 10" in answer
            assert "TOO_MANY_CONNECTIONS" in answer
        async with aiohttp.ClientSession() as http:
            late = PollingClient(gateway, http)
            status, body = await late.get()
            assert (status, json.loads(body)["code"]) == (429, "TOO_MANY_CONNECTIONS")
        await will_sign_in.sign_in(a_token(servers, next(_users)))
        async with plain(gateway) as client:
            assert (await client.ask("auth", token=a_token(servers, next(_users))))["ok"]
            await stack.enter_async_context(raw_websocket(gateway, PLAIN))
            assert "429" in await refusal_of(gateway, PLAIN), "it is full again"
        await stack.aclose()
        await eventually(lambda: is_let_in(gateway))


async def refusal_of(gateway: GatewayProcess, path: str, *headers: str) -> str:
    reader, writer = await asyncio.open_connection(gateway.settings.host, gateway.settings.port("stream"))
    writer.write(handshake(path, *headers))
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()


async def is_let_in(gateway: GatewayProcess) -> bool:
    async with raw_websocket(gateway, PLAIN):
        return True


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
async def test_an_address_is_believed_of_a_trusted_proxy_alone(
    servers: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch, trusted: tuple[str, ...]
) -> None:
    monkeypatch.setattr(strangers, "OF_ADDRESS_MAX", 1)
    one, another = "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2"
    async with served(servers, redis, *trusted) as gateway, raw_websocket(gateway, PLAIN, one):
        assert "429" in await refusal_of(gateway, PLAIN, one)
        if trusted:
            async with raw_websocket(gateway, PLAIN, another):
                pass
        else:
            assert "429" in await refusal_of(gateway, PLAIN, another)
        async with aiohttp.ClientSession(headers=[tuple(one.split(": "))]) as http:  # type: ignore[list-item]
            assert (await PollingClient(gateway, http).get())[0] == 429


async def test_addresses_of_one_household_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "OF_ADDRESS_MAX", 1)
    of_one = Strangers()
    for first, second in (
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::7"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("nonsense", "nonsense"),
    ):
        with of_one.arrival(first), pytest.raises(MessageRefused), of_one.arrival(second):
            pass
    with of_one.arrival("2001:db8:1:2::1"), of_one.arrival("2001:db8:1:3::1"), of_one.arrival("192.0.2.1"):
        pass


async def test_there_are_only_so_many_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "IN_ALL_MAX", 2)
    all_of_them = Strangers()
    with (
        all_of_them.arrival("192.0.2.1"),
        all_of_them.arrival("192.0.2.2"),
        pytest.raises(MessageRefused),
        all_of_them.arrival("192.0.2.3"),
    ):
        pass
    with all_of_them.arrival("192.0.2.3"):
        pass


async def test_a_signed_in_client_that_falls_silent_is_not_said_to_be_without_sign_in(
    servers: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("PULSE_SECONDS", 1), ("PONG_SECONDS", 1), ("CHECK_SECONDS", 0.2)):
        monkeypatch.setattr(socket_io, name, seconds)
    with capture_logs() as logs:
        async with served(servers, redis) as gateway, polling(gateway) as client:
            await client.sign_in(a_token(servers, next(_users)))
            await eventually(lambda: said_of(client.session, logs))
            await asyncio.sleep(0.5)
    assert said_of(client.session, logs) == [("connection_ended", "SILENT")]


def said_of(session: str, logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str | None]]:
    return [(line["event"], line.get("reason")) for line in logs if line.get("session") == session]
