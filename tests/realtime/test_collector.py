"""What is frozen is never looked for again: connections must go without leaving cycles behind."""

import asyncio
import gc
from collections import Counter
from functools import partial

import aiohttp
import msgspec
import pytest
from engineio.async_socket import AsyncSocket
from redis.asyncio import Redis
from uvicorn.server import ServerState

from bus import order_updates
from bus.background import running
from config.settings import Settings
from exchange.files.master import read_master
from realtime import gc_tuning
from realtime.app import Stream
from realtime.stream.clients import Client
from realtime.stream.gateway import Gateway
from realtime.websocket.connection import WebSocketConnection
from realtime.websocket.outbox import Outbox
from tests.support.eventually import eventually
from tests.support.stream import STREAM, a_token, an_update

USER = 8_000_000


class Loop:
    """A cycle of one."""

    def __init__(self) -> None:
        self.itself = self


def alive(*kinds: type) -> list[int]:
    """How many there are of each, those included that are out of the collector's sight."""
    gc.unfreeze()
    found = Counter(type(each) for each in gc.get_objects())
    return [found[kind] for kind in kinds]


async def test_what_has_lived_is_frozen_until_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_tuning, "FREEZE_SECONDS", 0.05)
    empty, thresholds = False, gc.get_threshold()
    kept = Loop()
    try:
        async with running(gc_tuning.tend(lambda: empty), "collector"):
            await eventually(lambda: gc.get_freeze_count() > 0)
            frozen = gc.get_freeze_count()
            Loop()
            del kept
            await asyncio.sleep(0.2)
            assert gc.get_freeze_count() >= frozen - 100
            empty = True
            await eventually(lambda: gc.get_freeze_count() != frozen)
            await asyncio.sleep(0.2)
    finally:
        gc.set_threshold(*thresholds)
    assert alive(Loop) == [0]


async def test_a_connection_that_ends_leaves_nothing_for_the_collector(
    servers: Settings, redis: Redis
) -> None:
    gateway = Gateway(servers, redis, list(read_master("NSE").values()))
    stream, state = Stream(gateway), ServerState()
    server = await asyncio.get_running_loop().create_server(
        partial(WebSocketConnection, stream.lines, server_state=state), servers.host, 0
    )
    url = f"http://{servers.host}:{server.sockets[0].getsockname()[1]}{STREAM}"
    token, wanted = a_token(servers, USER), {"instruments": ["NSE:TCS"]}
    plain = [{"action": "auth", "token": token}, {"action": "subscribe", **wanted}]
    await order_updates.publish(redis, [an_update(USER, 1)])
    async with (
        running(gateway.run(), "gateway"),
        running(stream.run(), "stream"),
        aiohttp.ClientSession() as http,
    ):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await talk(http, f"{url}/ws", [encoded(said) for said in plain])
                says = [f"40{encoded({'token': token})}", f"42{encoded(['subscribe', wanted])}"]
                await talk(http, f"{url}/?EIO=4&transport=websocket", says)
            await eventually(lambda: not gateway.clients and not state.connections)
            # The pulse lets go of a line when it would have been its time.
            stream.lines.due.clear()
            # One at most: of the last client that a loop over all of them has looked at.
            await eventually(lambda: max(alive(WebSocketConnection, Client, Outbox, AsyncSocket)) <= 1)
        finally:
            gc.enable()
    server.close()


def encoded(said: object) -> str:
    return msgspec.json.encode(said).decode()


async def talk(http: aiohttp.ClientSession, url: str, says: list[str]) -> None:
    """Sign in, subscribe, and go when session and snapshot are there."""
    async with http.ws_connect(url) as websocket:
        for said in says:
            await websocket.send_str(said)
        heard = ""
        while '"session"' not in heard or '"snapshot"' not in heard:
            heard += await websocket.receive_str(timeout=10)
