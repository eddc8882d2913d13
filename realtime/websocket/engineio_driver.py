"""How python-engineio reaches its clients here: a driver beside the ones it has, whose WebSockets are lines.

Its own handler keeps three tasks and two queues for each WebSocket; here a socket has none: what it sends
goes through its `Outbox` straight to the line, and what the client says comes from there. Sessions, polling
and the rules of the upgrade stay python-engineio's; what no client says ends its session with a reason.
Protocol: Engine.IO 4. Used by realtime/stream/socket_io.py.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any

import engineio
import structlog
from engineio.async_drivers import asgi
from engineio.async_socket import AsyncSocket
from engineio.packet import MESSAGE, NOOP, PING, PONG, Packet
from websockets.frames import CloseCode

from realtime.stream.messages import MessageRefused
from realtime.stream.strangers import OVERDUE, Stranger
from realtime.websocket.connection import GOODBYE_SECONDS, WebSocketConnection
from realtime.websocket.frames import text_frame
from realtime.websocket.outbox import Outbox
from realtime.websocket.packets import NO_PACKET, understood

LINE, STRANGER = "hundi.line", "hundi.stranger"
"""Where an environ or a scope has the client's line, and whom it arrived as."""
_PROBE, _PROBE_ANSWER, _UPGRADE = "2probe", b"3probe", "5"
log = structlog.get_logger()
_LEFT = MessageRefused("SIGNED_OUT", "The client has left.")
Environ = dict[str, Any]


class Driver:
    """Of one Engine.IO server: puts itself in the place of the driver that the server has.

    `farewell(session, refusal)` is the Socket.IO packet that tells a client why its session ends.
    """

    def __init__(
        self, server: engineio.AsyncServer, farewell: Callable[[str, MessageRefused], bytes]
    ) -> None:
        self._server, self._farewell = server, farewell
        self._on_connect = server.handlers["connect"]
        self._on_message = server.handlers["message"]
        self._on_disconnect = server.handlers["disconnect"]
        server.on("connect", self._connected)
        server.on("disconnect", self._disconnected)
        self._strangers: dict[str, Stranger] = {}
        """Of each session in which nobody has signed in."""
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        """Of each whose client has signed out."""
        self._tasks: set[asyncio.Task[None]] = set()
        server.create_queue = Outbox
        server._async = server._async | {
            "translate_request": _translate,
            "make_response": _respond,
            "websocket": lambda handler, _server: _Opening(self, handler.__self__),
        }

    async def asked(self, line: WebSocketConnection, query: str, stranger: Stranger) -> None:
        """A client wants a WebSocket, for a new session or for one that polls."""
        if "transport=websocket" not in query.split("&"):
            line.refuse(HTTPStatus.BAD_REQUEST, "A WebSocket is asked for with transport=websocket.")
            return
        environ = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": query,
            "HTTP_CONNECTION": "upgrade",
            "HTTP_UPGRADE": "websocket",
            LINE: line,
            STRANGER: stranger,
        }
        await self._server.handle_request(environ)

    async def follow(self, socket: AsyncSocket, message: str | bytes) -> None:
        """Do what a client says in its session. Raises Refused when that cannot go on."""
        packet = understood(message)
        if packet.packet_type == PONG and socket.queue.line is not None:
            socket.last_ping = None
        elif packet.packet_type != MESSAGE:
            await socket.receive(packet)
        else:
            try:
                await self._on_message(socket.sid, packet.data)
            except Exception as error:
                log.warning("message_not_understood", session=socket.sid, error=repr(error)[:200])
                raise MessageRefused("FRAME_INVALID", "The message was not understood.") from None

    def signed_in(self, session: str) -> None:
        if (stranger := self._strangers.pop(session, None)) is not None:
            stranger.settled()
        if (timer := self._leaving.pop(session, None)) is not None:
            timer.cancel()

    def signed_out(self, session: str) -> None:
        """Its client leaves; the session has a moment to end by itself."""
        socket = self._server.sockets.get(session)
        if socket is not None and not socket.closing:
            self._leaving[session] = asyncio.get_running_loop().call_later(
                GOODBYE_SECONDS, self._begin_with, self.end, session, _LEFT
            )

    async def end(self, session: str, refusal: MessageRefused) -> None:
        """Tell the client why, and end its session."""
        socket = self._server.sockets.get(session)
        if socket is None or socket.closing or socket.closed:
            return
        outbox: Outbox = socket.queue
        outbox.say(self._farewell(session, refusal))
        if outbox.line is not None:
            # The session ends with its line.
            outbox.line.close(CloseCode.POLICY_VIOLATION, refusal.code)
        else:
            await socket.close(wait=False)

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
        socket = self._server.sockets[session]
        if LINE in environ:
            # Or python-engineio would have a task for each of its pings.
            socket.last_ping = None
        socket.queue.stalled = partial(self._begin_with, self._cut, session)
        stranger: Stranger = environ.pop(STRANGER)
        stranger.watch(partial(self._begin_with, self._overdue, session))
        self._strangers[session] = stranger
        return await self._on_connect(session, environ)

    async def _disconnected(self, session: str, reason: str) -> None:
        self.signed_in(session)
        if reason == self._server.reason.PING_TIMEOUT:
            log.info("connection_ended", reason="SILENT", session=session)
        await self._on_disconnect(session, reason)

    async def _overdue(self, session: str) -> None:
        log.info("connection_without_sign_in", session=session)
        await self.end(session, OVERDUE)

    async def _cut(self, session: str) -> None:
        """A session whose polls take too little."""
        if (socket := self._server.sockets.get(session)) is not None:
            log.info("connection_ended", reason="TOO_SLOW", session=session)
            await socket.close(wait=False, abort=True)
            self._server.sockets.pop(session, None)

    def _begin_with(self, work: Callable[..., Coroutine[Any, Any, None]], *of: object) -> None:
        task = asyncio.create_task(work(*of))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Opening:
    """What python-engineio calls for a WebSocket, in the place of its handler."""

    def __init__(self, driver: Driver, socket: AsyncSocket) -> None:
        self._driver, self._socket = driver, socket

    async def __call__(self, environ: Environ) -> str:
        line: WebSocketConnection = environ[LINE]
        # A new session has it already; a WebSocket that is to follow polls is one until it does.
        stranger: Stranger | None = environ.pop(STRANGER, None)
        receiver = _Receiver(self._driver, self._socket, line, stranger)
        # Polls are answered at once until the client has changed over, or has given it up.
        self._socket.upgrading = self._socket.connected
        self._socket.connected = True
        line.accept(receiver)
        if not self._socket.upgrading:
            receiver.attach()
        return ""


class _Receiver:
    """One WebSocket of a session: its only one, or one that is about to follow its polls."""

    __slots__ = ("_driver", "_line", "_socket", "_stranger")
    ping = text_frame(Packet(PING).encode().encode())

    def __init__(
        self, driver: Driver, socket: AsyncSocket, line: WebSocketConnection, stranger: Stranger | None
    ) -> None:
        self._driver, self._socket, self._line, self._stranger = driver, socket, line, stranger
        if stranger is not None:
            stranger.watch(partial(line.close, CloseCode.POLICY_VIOLATION, "UPGRADE_MISSING"))

    def attach(self) -> None:
        self._socket.upgraded, self._socket.upgrading = True, False
        self._socket.queue.attach(self._line)
        self._settle()

    async def follow(self, message: str | bytes) -> None:
        if self._socket.queue.line is not self._line:
            self._change_over(message)
            return
        try:
            await self._driver.follow(self._socket, message)
        except MessageRefused as refusal:
            await self._driver.end(self._socket.sid, refusal)
        if self._socket.closed:
            self._line.close(CloseCode.NORMAL_CLOSURE)

    async def gone(self) -> None:
        self._settle()
        if self._socket.queue.line is self._line:
            await self._driver.left(self._socket)
        else:
            self._socket.upgrading = False

    def _change_over(self, message: str | bytes) -> None:
        """A probe, its answer and the end of the poll that waits; then the client's word that it has."""
        if message == _PROBE:
            self._line.write(text_frame(_PROBE_ANSWER))
            self._socket.queue.put_nowait(Packet(NOOP))
        elif message == _UPGRADE and self._socket.upgrading and not self._socket.closing:
            self.attach()
        else:
            self._line.close(CloseCode.POLICY_VIOLATION, NO_PACKET.code)

    def _settle(self) -> None:
        if self._stranger is not None:
            self._stranger.settled()
            self._stranger = None


async def _translate(*request: Any) -> Any:
    """The environ of an HTTP request, or the one that was made for a line."""
    if len(request) == 1:
        return request[0]
    return await asgi.translate_request(*request) | {STRANGER: request[0].get(STRANGER)}


async def _respond(status: str, headers: Any, payload: Any, environ: Environ) -> Any:
    """To an HTTP request; a line that gets one is refused."""
    if (line := environ.get(LINE)) is None:
        return await asgi.make_response(status, headers, payload, environ)
    return line.refuse(HTTPStatus(int(status.split()[0])), payload.decode())
