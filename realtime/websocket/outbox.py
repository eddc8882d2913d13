"""What one Engine.IO socket is told: packets in order, for its polls or straight to its line.

Whoever leaves too much of it is cut off, whatever it is: acknowledgements and snapshots count as updates do.
Made by python-engineio, as the queue of each socket (realtime/websocket/engineio_driver.py).
"""

import asyncio
from collections.abc import Callable

from engineio.packet import CLOSE, MESSAGE, NOOP, Packet
from websockets.frames import CloseCode

from realtime.websocket.connection import (
    BEHIND_BYTES,
    FRAMES_A_SECOND,
    FRAMES_AT_ONCE,
    WAITING_BYTES_MAX,
    WebSocketConnection,
)
from realtime.websocket.frames import text_frame
from realtime.websocket.token_bucket import TokenBucket

PAYLOAD_PACKETS = 16
"""In one answer to a poll; python-engineio's client ends its connection over more."""
BEHIND_PACKETS, QUEUE_MAX = 16, 1_000
"""Packets that wait for a client's poll before it gets no ticks, and before it counts as stalled."""


class Outbox:
    """The packets of one socket, in order: for its next poll until it has a line, then straight to that.

    It is the socket's queue in python-engineio.
    """

    __slots__ = ("_backlog", "_pace", "line", "stalled")

    def __init__(self) -> None:
        self._backlog: _Backlog | None = _Backlog()
        self._pace: TokenBucket | None = None
        self.line: WebSocketConnection | None = None
        self.stalled: Callable[[], None] | None = None
        """Called once, when more waits for polls than for a client that polls; a line cuts itself off."""

    def attach(self, line: WebSocketConnection) -> None:
        """From here on packets are written, those that wait first."""
        assert self._backlog is not None
        backlog, self._backlog, self.line = self._backlog, None, line
        self.stalled = self._pace = None
        while (packet := backlog.left()) is not None:
            self.put_nowait(packet)
        # A poll that still waits is answered, as the protocol asks.
        backlog.put_nowait(Packet(NOOP))

    def say(self, message: bytes) -> None:
        """A text message, finished by whoever says it."""
        if self.line is not None:
            self.line.write(text_frame(b"4" + message))
        else:
            self.put_nowait(Packet(MESSAGE, message.decode()))

    @property
    def is_behind(self) -> bool:
        if self.line is not None:
            return self.line.is_behind
        return self._backlog is not None and self._backlog.is_behind

    @property
    def pace(self) -> TokenBucket:
        """Of what the client says while it polls; a line has its own."""
        if self._pace is None:
            self._pace = TokenBucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        return self._pace

    def put_nowait(self, packet: Packet | None) -> None:
        if self._backlog is not None:
            if not self._backlog.is_full:
                self._backlog.put_nowait(packet)
            elif self.stalled is not None:
                stalled, self.stalled = self.stalled, None
                stalled()
        elif packet is not None and self.line is not None:
            self.line.write(text_frame(packet.encode().encode()))
            if packet.packet_type == CLOSE:
                self.line.close(CloseCode.NORMAL_CLOSURE)

    async def put(self, packet: Packet | None) -> None:
        self.put_nowait(packet)

    async def get(self) -> Packet | None:
        assert self._backlog is not None
        return await self._backlog.get()

    def get_nowait(self) -> Packet | None:
        if self._backlog is None:
            raise asyncio.QueueEmpty
        return self._backlog.get_nowait()

    def task_done(self) -> None:
        if self._backlog is not None:
            self._backlog.task_done()

    async def join(self) -> None:
        """Until the client has polled for everything."""
        if self._backlog is not None:
            await self._backlog.join()

    def qsize(self) -> int:
        return self._backlog.qsize() if self._backlog is not None else 0


class _Backlog(asyncio.Queue[Packet | None]):
    """Engine.IO waits for the first packet and answers a poll with all that it is given."""

    _given = 0
    _bytes = 0

    @property
    def is_behind(self) -> bool:
        return self.qsize() > BEHIND_PACKETS or self._bytes > BEHIND_BYTES

    @property
    def is_full(self) -> bool:
        return self.qsize() > QUEUE_MAX or self._bytes > WAITING_BYTES_MAX

    async def get(self) -> Packet | None:
        self._given = 0
        return await super().get()

    def get_nowait(self) -> Packet | None:
        if self._given == PAYLOAD_PACKETS:
            raise asyncio.QueueEmpty
        packet = super().get_nowait()
        self._given += 1
        return packet

    def left(self) -> Packet | None:
        """The next packet whatever was given, None for no more."""
        return None if self.empty() else super().get_nowait()

    def _put(self, packet: Packet | None) -> None:
        self._bytes += _size(packet)
        super()._put(packet)

    def _get(self) -> Packet | None:
        packet = super()._get()
        self._bytes -= _size(packet)
        return packet


def _size(packet: Packet | None) -> int:
    return len(packet.data) if packet is not None and isinstance(packet.data, str) else 0
