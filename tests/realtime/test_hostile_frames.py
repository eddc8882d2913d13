"""Floods of frames, from clients that need no token: whoever sends them waits, nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from websockets.frames import CloseCode, Opcode

from realtime.websocket.connection import FRAMES_A_SECOND, FRAMES_AT_ONCE
from tests.support.raw_stream import Connection, client_frame, goodbye, raw_websocket, server_frames
from tests.support.stream import STREAM, GatewayProcess

FLOOD_SECONDS = 1.0
TRIPS_MIN = 10
"""Round trips that another client has in FLOOD_SECONDS, on however busy a machine: 10 a second."""
FRONTS = [f"{STREAM}/ws", f"{STREAM}/?EIO=4&transport=websocket"]
EMPTY = client_frame(Opcode.CONT, fin=False)


@asynccontextmanager
async def a_second_client(gateway: GatewayProcess) -> AsyncIterator[list[int]]:
    """Asks and is answered, one after the other; the list grows by one each time."""
    answers: list[int] = []

    async def ask(http: aiohttp.ClientSession) -> None:
        while True:
            async with http.get(f"{gateway.url}/healthz") as answer:
                answers.append(answer.status)

    async with aiohttp.ClientSession() as http:
        asking = asyncio.create_task(ask(http))
        try:
            yield answers
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def flood(writer: asyncio.StreamWriter, frames: bytes) -> int:
    """As much as the server takes in FLOOD_SECONDS; how many times it took the frames."""
    times = 0
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(FLOOD_SECONDS):
            while True:
                writer.write(frames)
                await writer.drain()
                times += 1
                await asyncio.sleep(0)
    return times


@pytest.mark.parametrize("path", FRONTS)
async def test_a_message_of_countless_empty_frames_ends_its_own_connection_and_stops_nobody(
    gateway: GatewayProcess, path: str
) -> None:
    async with raw_websocket(gateway, path) as (reader, writer), a_second_client(gateway) as answers:
        writer.write(client_frame(Opcode.TEXT, b"{", fin=False) + EMPTY * 40_000)
        await asyncio.sleep(FLOOD_SECONDS)
        assert len(answers) >= TRIPS_MIN and set(answers) == {200}
        told = await asyncio.wait_for(goodbye(reader), 10)
        assert told is not None and told[0] in (CloseCode.POLICY_VIOLATION, CloseCode.MESSAGE_TOO_BIG)


@pytest.mark.parametrize(
    ("path", "frame"),
    [
        (FRONTS[0], client_frame(Opcode.PING, b"p")),
        (FRONTS[1], client_frame(Opcode.PONG)),
        (FRONTS[1], client_frame(Opcode.TEXT, b"3")),
        (FRONTS[1], client_frame(Opcode.TEXT, b"43" + b"0" * 60_000)),
        (FRONTS[0], client_frame(Opcode.BINARY, b"x")),
    ],
    ids=["pings", "pongs", "texts", "long texts", "bytes"],
)
async def test_floods_of_frames_leave_the_others_their_turns(
    gateway: GatewayProcess, path: str, frame: bytes
) -> None:
    frames = frame * max(1, 60_000 // len(frame))
    async with (
        raw_websocket(gateway, path) as one,
        raw_websocket(gateway, path) as another,
        a_second_client(gateway) as answers,
    ):
        await asyncio.gather(*(flood(writer, frames) for _, writer in (one, another)))
        assert len(answers) >= TRIPS_MIN and set(answers) == {200}


async def test_pings_are_answered_at_a_measured_pace(gateway: GatewayProcess) -> None:
    async with raw_websocket(gateway, FRONTS[1]) as (reader, writer):
        pings = asyncio.create_task(flood(writer, client_frame(Opcode.PING, b"p") * 1000))
        pongs = await answers_to(reader)
        await pings
        assert FRAMES_AT_ONCE <= pongs <= FRAMES_AT_ONCE + FRAMES_A_SECOND * (FLOOD_SECONDS + 1)


async def answers_to(reader: asyncio.StreamReader) -> int:
    """Pongs of FLOOD_SECONDS."""
    pongs = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(FLOOD_SECONDS):
            async for opcode, _ in server_frames(reader):
                pongs += opcode is Opcode.PONG
    return pongs


async def test_nothing_is_read_after_a_close_whoever_said_it(gateway: GatewayProcess) -> None:
    said = [client_frame(Opcode.CLOSE, b"\x03\xe8"), b"\x81\x05never", client_frame(Opcode.CONT)]
    pings = client_frame(Opcode.PING) * 10_000
    async with a_second_client(gateway) as answers:
        for close in said:
            async with raw_websocket(gateway, FRONTS[1]) as connection:
                await is_deaf_after(connection, close, pings)
        assert len(answers) >= TRIPS_MIN * len(said) / 2 and set(answers) == {200}


async def is_deaf_after(connection: Connection, close: bytes, pings: bytes) -> None:
    reader, writer = connection
    writer.write(close + pings)
    assert await asyncio.wait_for(goodbye(reader), 10) is not None
    await flood(writer, pings)
    with suppress(ConnectionError, TimeoutError):
        assert await asyncio.wait_for(reader.read(), 15) == b"", "no pong after the close"
