"""A client that stalls, floods or talks nonsense costs only itself."""

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Any

import aiohttp
import httpx
import numpy as np
import pytest
import socketio
from redis.asyncio import Redis
from websockets.frames import Opcode

from bus import order_updates
from bus.tick_bus import Publisher
from bus.ticks import TICK, Ticks, group_of
from exchange.files.master import read_master
from realtime.stream.gateway import CONNECTIONS_MAX
from realtime.websocket.connection import MESSAGE_BYTES_MAX
from tests.support.eventually import eventually
from tests.support.raw_stream import client_frame
from tests.support.stream import STREAM, GatewayProcess, a_token, an_update, plain, socket_io

INSTRUMENTS = [i for i in read_master("NSE").values() if i.tradable][:60]
_users = count(7_500_000)


@asynccontextmanager
async def a_bystander(gateway: GatewayProcess, redis: Redis) -> AsyncIterator[Any]:
    """A client whose order updates keep coming, each within two seconds, whatever happens meanwhile."""
    user = next(_users)
    await order_updates.publish(redis, [an_update(user, 1)])
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(lambda: client.of("session"))

        async def is_served() -> None:
            seq = len(client.seqs) + 2
            await order_updates.publish(redis, [an_update(user, seq)])
            await eventually(lambda: client.seqs[-1:] == [seq], within=2)

        await is_served()
        yield is_served
        await is_served()
        assert client.reasons == []


async def test_one_token_opens_only_so_many_connections(gateway: GatewayProcess, redis: Redis) -> None:
    token = a_token(gateway.settings, next(_users))
    async with a_bystander(gateway, redis), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(plain(gateway)) for _ in range(CONNECTIONS_MAX + 5)]
        answers = await asyncio.gather(*(client.ask("auth", token=token) for client in clients))
        refused = [answer for answer in answers if not answer["ok"]]
        assert [answer["code"] for answer in refused] == ["TOO_MANY_CONNECTIONS"] * 5
        one_more = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await one_more.connect(gateway.url, auth={"token": token}, socketio_path=STREAM)
        await one_more.shutdown()
    async with plain(gateway) as later:
        await eventually(lambda: is_let_in(later, token))


async def is_let_in(client: Any, token: str) -> bool:
    return bool((await client.ask("auth", token=token))["ok"])


async def test_a_huge_message_ends_the_connection_or_is_refused(
    gateway: GatewayProcess, redis: Redis
) -> None:
    async with a_bystander(gateway, redis), plain(gateway) as client:
        await client.websocket.send_str("x" * (MESSAGE_BYTES_MAX + 1))
        await eventually(lambda: client.websocket.closed)
        assert client.websocket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        async with httpx.AsyncClient(base_url=gateway.url) as http:
            query = "EIO=4&transport=polling"
            huge = await http.post(f"{STREAM}/?{query}", content=b"x" * (MESSAGE_BYTES_MAX + 1))
            assert (huge.status_code, huge.json()["code"]) == (413, "BODY_TOO_LARGE")

            async def drip() -> AsyncIterator[bytes]:
                yield b"x"

            assert (await http.post(f"{STREAM}/?{query}", content=drip())).status_code == 411


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "FRAME_INVALID"),
        ("nonsense", "FRAME_INVALID"),
        ("[1]", "FRAME_INVALID"),
        ('{"action": "subscribe"}', "AUTH_MISSING"),
        ('{"action": "auth", "token": "\\ud800"}', "FRAME_INVALID"),
        ("[" * 20_000, "FRAME_INVALID"),
    ],
)
async def test_a_plain_frame_that_makes_no_sense_ends_the_connection(
    gateway: GatewayProcess, frame: str, code: str
) -> None:
    async with plain(gateway) as client:
        await client.websocket.send_str(frame)
        await eventually(lambda: client.websocket.closed)
        assert client.websocket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_message_that_is_not_of_its_form_is_refused_and_the_connection_stays(
    gateway: GatewayProcess,
) -> None:
    async with plain(gateway) as client, socket_io(gateway, a_token(gateway.settings, next(_users))) as other:
        await client.ask("auth", token=a_token(gateway.settings, next(_users)))
        assert (await client.ask("dance"))["code"] == "ACTION_UNKNOWN"
        for said in ({}, {"instruments": "NSE:TCS"}, {"instruments": [1]}, {"instruments": ["x"] * 3001}):
            assert (await client.ask("subscribe", **said))["code"] == "MESSAGE_INVALID"
            assert (await other.ask("subscribe", said))["code"] == "MESSAGE_INVALID"
        for cursor in (-1, 1.5, "1", None, 2**60):
            assert (await other.ask("resume", {"after_seq": cursor}))["code"] == "MESSAGE_INVALID"
        assert (await other.ask("resume", "7"))["code"] == "MESSAGE_INVALID"
        assert (await other.ask("subscribe", {"instruments": []}))["ok"]


@pytest.mark.parametrize(
    "frames",
    [
        ["9"],
        ["nonsense"],
        ["4"],
        ["4nonsense"],
        ["42["],
        ["42[]"],
        ['42["subscribe"'],
        ["40/admin,"],
        ['451-["x",{"_placeholder":true,"num":0}]', "42"],
        ["43" + "9" * 500 + "[]"],
        [b"\x00\xff"],
        ['40{"token":' + "[" * 5000],
    ],
)
async def test_an_engine_frame_that_makes_no_sense_disturbs_nobody(
    gateway: GatewayProcess, redis: Redis, frames: list[str | bytes]
) -> None:
    async with (
        a_bystander(gateway, redis) as is_served,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{gateway.url}{STREAM}/?EIO=4&transport=websocket") as websocket,
    ):
        assert (await websocket.receive_str()).startswith("0{")
        for frame in frames:
            await (websocket.send_bytes(frame) if isinstance(frame, bytes) else websocket.send_str(frame))
        await is_served()


async def test_a_client_that_floods_waits_for_itself(gateway: GatewayProcess, redis: Redis) -> None:
    async with a_bystander(gateway, redis) as is_served, plain(gateway) as flood:
        await flood.ask("auth", token=a_token(gateway.settings, next(_users)))
        began = time.monotonic()
        everything = [instrument.instrument_id for instrument in INSTRUMENTS]
        for _ in range(2000):
            await flood.say(action="subscribe", instruments=everything, mode="full")
        for _ in range(5):
            await is_served()
        took = time.monotonic() - began
        assert len(flood.of("answer")) < 200 + 20 * (took + 1)


@pytest.mark.parametrize("front", ["plain", "socket.io"])
async def test_a_stalled_client_is_cut_off_and_the_others_miss_nothing(
    gateway: GatewayProcess, redis: Redis, front: str
) -> None:
    everything = [instrument.instrument_id for instrument in INSTRUMENTS]
    async with a_bystander(gateway, redis) as is_served, plain(gateway) as reader:
        await reader.ask("auth", token=a_token(gateway.settings, next(_users)))
        await reader.ask("subscribe", instruments=everything, mode="full")
        token = {"token": a_token(gateway.settings, next(_users))}
        asked = {"instruments": everything, "mode": "full"}
        if front == "plain":
            says = [json.dumps({"action": "auth", **token}), json.dumps({"action": "subscribe", **asked})]
            stalled = stalled_client(gateway, f"{STREAM}/ws", says)
        else:
            says = [f"40{json.dumps(token)}", f"42{json.dumps(['subscribe', asked])}"]
            stalled = stalled_client(gateway, f"{STREAM}/?EIO=4&transport=websocket", says)
        ltp = 0
        while ltp < 150 and not is_cut(stalled):
            ltp += 1
            await publish_all(redis, ltp)
            await asyncio.sleep(0.15)
        assert is_cut(stalled)
        await is_served()
        await eventually(lambda: last_prices(reader) == dict.fromkeys(everything, ltp / 100))
        stalled.close()


async def test_a_stalled_client_is_cut_off_rather_than_losing_one_of_its_order_updates(
    gateway: GatewayProcess, redis: Redis
) -> None:
    user = next(_users)
    token = {"token": a_token(gateway.settings, user)}
    url = f"{STREAM}/?EIO=4&transport=websocket"
    async with a_bystander(gateway, redis) as is_served:
        stalled = stalled_client(gateway, url, [f"40{json.dumps(token)}"])
        await asyncio.to_thread(read_until, stalled, b'"session"')
        for first in range(1, 4001, 100):
            await order_updates.publish(
                redis, [an_update(user, seq, text="x" * 200) for seq in range(first, first + 100)]
            )
        await eventually(lambda: is_cut(stalled))
        await is_served()
        stalled.close()


@pytest.mark.parametrize("front", ["plain", "socket.io"])
async def test_a_client_that_asks_again_and_again_and_reads_nothing_is_cut_off(
    gateway: GatewayProcess, redis: Redis, front: str
) -> None:
    token = {"token": a_token(gateway.settings, next(_users))}
    asked = {"instruments": [f"?{number}" for number in range(3000)]}
    if front == "plain":
        path = f"{STREAM}/ws"
        signs_in, asks = {"action": "auth", **token}, {"action": "subscribe", **asked}
        says = [json.dumps(signs_in), json.dumps(asks)]
    else:
        path = f"{STREAM}/?EIO=4&transport=websocket"
        says = [f"40{json.dumps(token)}", f"421{json.dumps(['subscribe', asked])}"]
    async with a_bystander(gateway, redis):
        stalled = stalled_client(gateway, path, says[:1])
        await asyncio.to_thread(read_until, stalled, b'"session"')
        # Its answers come to two megabytes, of which there is no tick.
        await asyncio.to_thread(say, stalled, says[1:] * 8)
        await eventually(lambda: is_cut(stalled))
        stalled.close()


def read_until(client: socket.socket, word: bytes) -> None:
    client.settimeout(10)
    heard = b""
    while word not in heard:
        heard += client.recv(512)


def stalled_client(gateway: GatewayProcess, url: str, says: list[str]) -> socket.socket:
    """Says this and never reads again, with as little room as the kernel allows."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect((gateway.settings.host, gateway.settings.port("stream")))
    key = base64.b64encode(os.urandom(16)).decode()
    stalled.sendall(
        f"GET {url} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert stalled.recv(12).startswith(b"HTTP/1.1 101")
    say(stalled, says)
    return stalled


def say(stalled: socket.socket, says: list[str]) -> None:
    with suppress(ConnectionError):
        for said in says:
            stalled.sendall(client_frame(Opcode.TEXT, said.encode()))


def is_cut(stalled: socket.socket) -> bool:
    """Has the other side reset the connection? What is unread stays unread."""
    return bool(stalled.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1)


async def publish_all(redis: Redis, ltp: int) -> None:
    rows: dict[str, list[Ticks]] = {}
    for instrument in INSTRUMENTS:
        row = np.zeros(1, TICK)
        row["token"], row["ltp"], row["time_ns"] = instrument.token, ltp, time.time_ns()
        row["bids"]["price"], row["bids"]["quantity"] = ltp, ltp
        row["asks"]["price"], row["asks"]["quantity"] = ltp, ltp
        rows.setdefault(group_of("NSE", instrument.token), []).append(row)
    await Publisher(redis).publish({group: np.concatenate(parts) for group, parts in rows.items()})


def last_prices(reader: Any) -> dict[str, float]:
    known: dict[str, float] = {}
    for event, body in reader.all:
        if event in ("snapshot", "ticks"):
            known |= {e["instrument"]: e["ltp"] for e in body[event] if "ltp" in e}
    return known
