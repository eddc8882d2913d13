"""Socket.IO clients by the thousand in one process: raw WebSockets that decode every frame they are sent.

An update counts when its JSON is decoded. Used by benchmarks/fanout.py, on the core the server is not on.
"""

import asyncio
import base64
import os
import struct

import msgspec


class _Element(msgspec.Struct):
    instrument: str
    timestamp: str


_event = msgspec.json.Decoder(tuple[str, list[_Element] | _Element]).decode
_TICKS = (b'42["ticks",', b'42["tick",')


class LoadClient(asyncio.Protocol):
    """Connects, subscribes when it is let in, and counts the updates it decodes."""

    def __init__(self, path: str, auth: bytes, wanted: bytes) -> None:
        self._path, self._auth, self._wanted = path, auth, wanted
        self._buffer = b""
        self._is_open = False
        self.updates = self.frames = 0
        self.served = asyncio.Event()
        """It has been told something."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        if not self._is_open:
            _, blank, buffer = buffer.partition(b"\r\n\r\n")
            if not blank:
                self._buffer += data
                return
            self._is_open = True
            self._say(self._auth)
        at = 0
        while (frame := _frame(buffer, at)) is not None:
            payload, at = frame
            self._take(payload)
        self._buffer = buffer[at:]

    def _take(self, payload: bytes) -> None:
        if payload == b"2":
            self._say(b"3")
        elif payload.startswith(b"40"):
            self._say(self._wanted)
        elif payload.startswith(_TICKS):
            _, told = _event(payload[2:])
            self.updates += len(told) if isinstance(told, list) else 1
            self.frames += 1
            self.served.set()

    def _say(self, payload: bytes) -> None:
        """A text frame whose mask is zero."""
        length = len(payload)
        head = (
            struct.pack("!BB", 0x81, 0x80 | length)
            if length < 126
            else struct.pack("!BBH", 0x81, 0xFE, length)
        )
        self.transport.write(head + b"\0\0\0\0" + payload)


def _frame(buffer: bytes, at: int) -> tuple[bytes, int] | None:
    """The payload of the server's frame at a place and the place behind it."""
    if len(buffer) < at + 2:
        return None
    length, start = buffer[at + 1], at + 2
    if length == 126:
        start += 2
        length = int.from_bytes(buffer[at + 2 : start], "big")
    elif length == 127:
        start += 8
        length = int.from_bytes(buffer[at + 2 : start], "big")
    end = start + length
    return (buffer[start:end], end) if len(buffer) >= end else None
