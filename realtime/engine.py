"""How python-engineio reaches its clients here: a driver beside the ones it has, whose WebSockets are lines.

Its own handler keeps three tasks and two queues for each WebSocket; here a socket has none: what it sends
goes through its `Outbox` straight to the line, and what the client says comes from there. Sessions, polling
and the rules of the upgrade stay python-engineio's. Protocol: Engine.IO 4. Used by realtime/socket_io.py.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import engineio
from engineio.async_drivers import asgi
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError
from engineio.packet import CLOSE, MESSAGE, NOOP, PING, PONG, UPGRADE, Packet
from websockets.frames import CloseCode

from realtime.frames import text_frame
from realtime.line import Line

PAYLOAD_PACKETS = 16
"""In one answer to a poll; python-engineio's client ends its connection over more."""
BEHIND_PACKETS, QUEUE_MAX = 16, 1_000
"""Packets that wait for a client's poll before it gets no ticks, and before it counts as stalled."""
_LINE = "hundi.line"
Environ = dict[str, Any]


class Outbox:
    """The packets of one socket, in order: for its next poll until it has a line, then straight to that.

    It is the socket's queue in python-engineio.
    """

    __slots__ = ("_backlog", "line")

    def __init__(self) -> None:
        self._backlog: _Backlog | None = _Backlog()
        self.line: Line | None = None

    def attach(self, line: Line) -> None:
        """From here on packets are written, those that wait first."""
        assert self._backlog is not None
        backlog, self._backlog, self.line = self._backlog, None, line
        while (packet := backlog.left()) is not None:
            self.put_nowait(packet)
        # A poll that still waits is answered, as the protocol asks.
        backlog.put_nowait(Packet(NOOP))

    def say(self, message: bytes) -> None:
        """A text message, finished by whoever says it."""
        if self.line is not None:
            self.line.write(text_frame(b"4" + message))
        elif self._backlog is not None:
            self._backlog.put_nowait(Packet(MESSAGE, message.decode()))

    @property
    def is_behind(self) -> bool:
        return self.line.is_behind if self.line is not None else self.qsize() > BEHIND_PACKETS

    @property
    def is_stalled(self) -> bool:
        return self.line.is_stalled if self.line is not None else self.qsize() > QUEUE_MAX

    def put_nowait(self, packet: Packet | None) -> None:
        if self._backlog is not None:
            self._backlog.put_nowait(packet)
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


class Driver:
    """Of one Engine.IO server: puts itself in the place of the driver that the server has."""

    def __init__(self, server: engineio.AsyncServer) -> None:
        self._server = server
        self._on_connect = server.handlers["connect"]
        server.on("connect", self._connected)
        server.create_queue = Outbox
        server._async = server._async | {
            "translate_request": _translate,
            "make_response": _respond,
            "websocket": lambda handler, _server: _Opening(self, handler.__self__),
        }

    async def asked(self, line: Line, query: str) -> None:
        """A client wants a WebSocket, for a new session or for one that polls."""
        if "transport=websocket" not in query.split("&"):
            line.refuse(HTTPStatus.BAD_REQUEST, "A WebSocket is asked for with transport=websocket.")
            return
        environ = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": query,
            "HTTP_CONNECTION": "upgrade",
            "HTTP_UPGRADE": "websocket",
            _LINE: line,
        }
        await self._server.handle_request(environ)

    async def check(self) -> None:
        """Forget sessions that have ended, and end those whose polls have stopped; lines have a pulse."""
        for session, socket in list(self._server.sockets.items()):
            if socket.closed:
                self._server.sockets.pop(session, None)
            elif not socket.upgraded and not socket.closing:
                await socket.check_ping_timeout()

    async def left(self, socket: AsyncSocket) -> None:
        """Its line is gone."""
        await socket.close(wait=False, abort=True, reason=self._server.reason.TRANSPORT_CLOSE)
        self._server.sockets.pop(socket.sid, None)

    async def _connected(self, session: str, environ: Environ) -> Any:
        if _LINE in environ:
            # Or python-engineio would have a task for each of its pings.
            self._server.sockets[session].last_ping = None
        return await self._on_connect(session, environ)


class _Opening:
    """What python-engineio calls for a WebSocket, in the place of its handler."""

    def __init__(self, driver: Driver, socket: AsyncSocket) -> None:
        self._driver, self._socket = driver, socket

    async def __call__(self, environ: Environ) -> str:
        line: Line = environ[_LINE]
        receiver = _Receiver(self._driver, self._socket, line)
        # Polls are answered at once until the client has changed over, or has given it up.
        self._socket.upgrading = self._socket.connected
        self._socket.connected = True
        line.accept(receiver)
        if not self._socket.upgrading:
            receiver.attach()
        return ""


class _Receiver:
    """One WebSocket of a session: its only one, or one that is about to follow its polls."""

    __slots__ = ("_driver", "_line", "_socket")
    ping = text_frame(Packet(PING).encode().encode())

    def __init__(self, driver: Driver, socket: AsyncSocket, line: Line) -> None:
        self._driver, self._socket, self._line = driver, socket, line

    def attach(self) -> None:
        self._socket.upgraded, self._socket.upgrading = True, False
        self._socket.queue.attach(self._line)

    async def follow(self, message: str | bytes) -> None:
        packet = Packet(encoded_packet=message)
        if self._socket.queue.line is not self._line:
            self._change_over(packet)
        elif packet.packet_type == PONG:
            self._socket.last_ping = None
        else:
            # A packet that means nothing is passed over.
            with suppress(EngineIOError):
                await self._socket.receive(packet)
            if self._socket.closed:
                self._line.close(CloseCode.NORMAL_CLOSURE)

    async def gone(self) -> None:
        if self._socket.queue.line is self._line:
            await self._driver.left(self._socket)
        else:
            self._socket.upgrading = False

    def _change_over(self, packet: Packet) -> None:
        """A probe, its answer and the end of the poll that waits; then the client's word that it has."""
        if packet.packet_type == PING and packet.data == "probe":
            self._line.write(text_frame(Packet(PONG, "probe").encode().encode()))
            self._socket.queue.put_nowait(Packet(NOOP))
        elif packet.packet_type == UPGRADE and self._socket.upgrading:
            self.attach()
        else:
            self._line.close(CloseCode.POLICY_VIOLATION)


async def _translate(*request: Any) -> Any:
    """The environ of an HTTP request, or the one that was made for a line."""
    return request[0] if len(request) == 1 else await asgi.translate_request(*request)


async def _respond(status: str, headers: Any, payload: Any, environ: Environ) -> Any:
    """To an HTTP request; a line that gets one is refused."""
    if (line := environ.get(_LINE)) is None:
        return await asgi.make_response(status, headers, payload, environ)
    return line.refuse(HTTPStatus(int(status.split()[0])), payload.decode())
