"""Connections to a stream gateway that say byte for byte what a test wants, as no client library would."""

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from websockets.frames import Opcode

from tests.support.eventually import eventually
from tests.support.stream import STREAM, GatewayProcess

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


class PollingClient:
    """A polling session that says and hears just what a test wants."""

    def __init__(self, gateway: GatewayProcess, http: aiohttp.ClientSession) -> None:
        self._url, self._http = f"{gateway.url}{STREAM}/?EIO=4&transport=polling", http
        self.session = ""

    async def open(self) -> None:
        status, body = await self.get()
        assert status == 200, body
        self.session = msgspec.json.decode(body[1:])["sid"]

    async def sign_in(self, token: str) -> None:
        assert await self.post(f'40{{"token":"{token}"}}') == (200, "ok")
        await eventually(lambda: self.hears("40{"))

    async def hears(self, word: str) -> bool:
        return any(packet.startswith(word) for packet in await self.poll())

    async def poll(self) -> list[str]:
        status, body = await self.get()
        assert status == 200, body
        return body.split("\x1e")

    async def get(self) -> tuple[int, str]:
        return await self._say("GET")

    async def post(self, *packets: str) -> tuple[int, str]:
        """Status and body; nothing may take longer than ten seconds to answer."""
        return await self._say("POST", "\x1e".join(packets))

    async def _say(self, method: str, body: str | None = None) -> tuple[int, str]:
        query = f"{self._url}&sid={self.session}" if self.session else self._url
        async with asyncio.timeout(10), self._http.request(method, query, data=body) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def polling(gateway: GatewayProcess) -> AsyncIterator[PollingClient]:
    """A session that is open and not signed in."""
    async with aiohttp.ClientSession() as http:
        client = PollingClient(gateway, http)
        await client.open()
        yield client
