"""Connections to a stream gateway that say byte for byte what a test wants, as no client library would."""

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.frames import Opcode

from tests.support.stream import GatewayProcess

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NOTHING = b"\0\0\0\0"
"""A mask that leaves a payload as it is."""


def client_frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """As a client sends it."""
    head, length = (0x80 if fin else 0) | opcode, len(payload)
    if length < 126:
        return struct.pack("!BB", head, 0x80 | length) + NOTHING + payload
    if length < 65536:
        return struct.pack("!BBH", head, 0xFE, length) + NOTHING + payload
    return struct.pack("!BBQ", head, 0xFF, length) + NOTHING + payload


@asynccontextmanager
async def raw_websocket(gateway: GatewayProcess, path: str, *headers: str) -> AsyncIterator[Connection]:
    """A WebSocket that is open; it is aborted when the context is left."""
    reader, writer = await asyncio.open_connection(gateway.settings.host, gateway.settings.port("stream"))
    try:
        writer.write(handshake(path, *headers))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield reader, writer
    finally:
        writer.transport.abort()


def handshake(path: str, *headers: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def server_frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[Opcode, bytes]]:
    """What the server says, until its close or the end of the connection."""
    try:
        while True:
            head, length = await reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
            yield Opcode(head & 0x0F), await reader.readexactly(length)
            if head & 0x0F == Opcode.CLOSE:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return


async def goodbye(reader: asyncio.StreamReader) -> tuple[int, str] | None:
    """Code and reason of the server's close, None when the connection ended without one."""
    async for opcode, payload in server_frames(reader):
        if opcode is Opcode.CLOSE:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()
    return None
