"""A WebSocket connection as uvicorn serves it, with a way to write finished frames straight to its transport.

Invariant: no compression is negotiated and no message is ever fragmented, so that a frame built once can be
shared between connections and may be written at any time. `run_asgi` leaves the line in the scope, where the
application finds it. Source: RFC 6455, section 5.2.
"""

import socket
import struct
from asyncio import BaseTransport
from collections.abc import MutableMapping
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from realtime.pace import Pace

BEHIND_BYTES = 64 * 1024
"""Written and not taken before a client counts as behind; where uvicorn stops writing, too."""
FRAMES_A_SECOND, FRAMES_AT_ONCE = 50, 200
_KEY = "hundi.line"


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text message."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


class Line(WebSocketsSansIOProtocol):
    """uvicorn's connection, known to the application."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pace = Pace(FRAMES_A_SECOND, FRAMES_AT_ONCE)

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What a client does not take waits here, where it is seen, and not in the kernel.
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BEHIND_BYTES)

    async def receive(self) -> ASGIReceiveEvent:
        """The client's next frame, at a measured pace."""
        event = await super().receive()
        if event["type"] == "websocket.receive":
            await self._pace.keep()
        return event

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[_KEY] = self
        await super().run_asgi()

    @property
    def is_open(self) -> bool:
        return self.handshake_complete and not self.close_sent and not self.transport.is_closing()

    @property
    def waiting_bytes(self) -> int:
        """Written and not yet taken by the kernel."""
        return self.transport.get_write_buffer_size()

    @property
    def is_behind(self) -> bool:
        return self.waiting_bytes > BEHIND_BYTES

    def write(self, frame: bytes) -> None:
        """A finished frame; dropped when the connection is closing."""
        if self.is_open:
            self.transport.write(frame)

    def abort(self) -> None:
        """Close without waiting for a client that takes nothing, and drop what waits for it."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def line_of(scope: MutableMapping[str, Any]) -> Line:
    """The line of a websocket scope."""
    line: Line = scope["extensions"][_KEY]
    return line
