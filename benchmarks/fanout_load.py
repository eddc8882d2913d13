"""Stream clients by the thousand in one process: raw WebSockets that decode all they are sent, or only read.

An update counts when its JSON is decoded; its age is the time since its stamp, taken of the last update of
each read. Each server has clients that speak its protocol. Used by benchmarks/crowd.py, on the core the
server is not on.
"""

import asyncio
import base64
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from typing import ClassVar, cast

import msgspec

MINUTE_NS = 60_000_000_000
_TEXT = 0x81
_PING = b"\x81\x012"
"""Engine.IO's, as a frame."""


class _Element(msgspec.Struct):
    instrument: str
    timestamp: str


_decode = msgspec.json.Decoder(_Element).decode
_event = msgspec.json.Decoder(tuple[str, list[_Element] | _Element]).decode


class LoadClient(asyncio.Protocol, ABC):
    """Connects, subscribes when it is let in, and counts the updates it decodes."""

    path: ClassVar[str]

    def __init__(self, token: str, instruments: list[str]) -> None:
        self._token, self._instruments = token, instruments
        self.hear: Callable[[bytes], None] | None = None
        """Told of every message that is no tick."""
        self._buffer = b""
        self._is_open = False
        self.skims = False
        """It reads what it is told and decodes nothing: its load is on the server alone."""
        self.updates = self.frames = 0
        self.ages: array[int] | None = None
        """Nanoseconds; noted while there is a place to note them."""
        self.ready = asyncio.Event()
        """It has been let in, and told something if it subscribed."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self.skims:
            if _PING in data:
                self.say(b"3")
            return
        buffer = self._buffer + data if self._buffer else data
        if not self._is_open:
            _, blank, buffer = buffer.partition(b"\r\n\r\n")
            if not blank:
                self._buffer += data
                return
            self._is_open = True
            self.opened()
        at, last = 0, ""
        while (frame := _frame(buffer, at)) is not None:
            payload, at = frame
            last = self.take(payload) or last
        self._buffer = buffer[at:]
        if last and self.ages is not None:
            self.ages.append(_age_ns(last))

    def opened(self) -> None:
        """The WebSocket is open."""

    @abstractmethod
    def take(self, payload: bytes) -> str:
        """A message; the stamp of its last update, empty for none."""

    def stall(self) -> None:
        """Read no more, with as little room as the kernel allows."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.transport.pause_reading()

    def say(self, payload: bytes) -> None:
        """A text frame whose mask is zero."""
        length = len(payload)
        head = (
            struct.pack("!BB", _TEXT, 0x80 | length)
            if length < 126
            else struct.pack("!BBH", _TEXT, 0xFE, length)
        )
        self.transport.write(head + b"\0\0\0\0" + payload)

    def told(self, updates: int) -> None:
        self.updates += updates
        self.frames += 1
        self.ready.set()


class SocketIoClient(LoadClient):
    """Of python-socketio and Node's socket.io as they come."""

    path = "/socket.io/?EIO=4&transport=websocket"
    ticks: ClassVar[bytes] = b'42["tick",'

    def opened(self) -> None:
        self.say(b"40" + msgspec.json.encode({"token": self._token}))

    def take(self, payload: bytes) -> str:
        if payload.startswith(self.ticks):
            _, told = _event(payload[2:])
            self.told(len(told) if isinstance(told, list) else 1)
            return told[-1].timestamp if isinstance(told, list) else told.timestamp
        if payload == b"2":
            self.say(b"3")
        elif payload.startswith(b"40"):
            if self._instruments:
                self.say(b"42" + msgspec.json.encode(["subscribe", {"instruments": self._instruments}]))
            else:
                self.ready.set()
        elif self.hear is not None:
            self.hear(payload)
        return ""


class OurClient(SocketIoClient):
    path = "/api/v1/stream/?EIO=4&transport=websocket"
    ticks = b'42["ticks",'


class BunClient(LoadClient):
    """A message an update, as Bun's pub/sub has it."""

    path = "/"

    def opened(self) -> None:
        self.say(msgspec.json.encode(self._instruments))
        if not self._instruments:
            self.ready.set()

    def take(self, payload: bytes) -> str:
        self.told(1)
        return _decode(payload).timestamp


class NatsClient(LoadClient):
    """NATS' own protocol in WebSocket frames, which carry many messages and may end within one."""

    path = "/"
    _text = b""

    def opened(self) -> None:
        wanted = "".join(f"SUB {subject(each)} {n}\r\n" for n, each in enumerate(self._instruments, 1))
        self.say(f'CONNECT {{"verbose":false,"protocol":1}}\r\n{wanted}PING\r\n'.encode())

    def take(self, payload: bytes) -> str:
        text = self._text + payload if self._text else payload
        at, updates, last = 0, 0, ""
        while (end := text.find(b"\r\n", at)) >= 0:
            if not text.startswith(b"MSG ", at):
                if text.startswith(b"PING", at):
                    self.say(b"PONG\r\n")
                elif text.startswith(b"PONG", at) and not self._instruments:
                    self.ready.set()
                at = end + 2
                continue
            length = int(text[text.rindex(b" ", at, end) : end])
            if len(text) < end + 4 + length:
                break
            last = _decode(text[end + 2 : end + 2 + length]).timestamp
            at, updates = end + 4 + length, updates + 1
        self._text = text[at:]
        if updates:
            self.told(updates)
        return last


def subject(instrument_id: str) -> str:
    """NATS' name for it: its words have no colon, space or ampersand to break."""
    return "ticks." + "".join(c if c.isalnum() else "_" for c in instrument_id)


def _age_ns(stamp: str) -> int:
    """Since an RFC 3339 stamp of the last minute, whatever its decimals."""
    stamped = int(stamp[17:19]) * 1_000_000_000 + int(stamp[20:-1].ljust(9, "0"))
    return (time.time_ns() - stamped) % MINUTE_NS


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
