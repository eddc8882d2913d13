"""The Socket.IO front: python-socketio owns handshake, sessions, polling and upgrade; the gateway decides.

Events of a client are handled one after the other, so a client that floods waits for itself. What must come
in order goes through Engine.IO's queue and so survives the upgrade from polling; ticks go straight to the
WebSocket once there is one. Protocol: Socket.IO 5 over Engine.IO 4. Mounted by realtime/app.py.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import socketio
import structlog
from engineio.packet import MESSAGE, NOOP, Packet
from starlette.types import Receive, Scope, Send

from realtime.clients import Client, Closing
from realtime.gateway import Gateway
from realtime.line import Line, line_of, text_frame
from realtime.messages import Refused

BEHIND_PACKETS = 16
"""Packets that wait for a client before it gets no ticks."""
SETTLE_SECONDS = 0.05
"""Within which Engine.IO has certainly written what was queued when its queue is empty."""
MESSAGE_BYTES_MAX = 64 * 1024
"""Of one message from a client; 3,000 instrument ids fit."""
QUEUE_MAX = 1_000
"""Packets that wait for a client before it counts as stalled."""
PAYLOAD_PACKETS = 16
"""In one answer to a poll; python-engineio's client ends its connection over more."""
PING_SECONDS, PONG_SECONDS, GOODBYE_SECONDS = 15, 10, 2
AUTH_SECONDS = 10
_quiet = logging.getLogger("hundi.engineio")
_quiet.setLevel(logging.CRITICAL)
log = structlog.get_logger()


class Backlog(asyncio.Queue[Packet | None]):
    """The packets of one socket; Engine.IO waits for the first and answers a poll with all that are given."""

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


class SocketIoWire:
    """One Engine.IO socket."""

    def __init__(self, server: socketio.AsyncServer, sid: str, line: Line | None) -> None:
        self._server, self._sid = server, sid
        self._socket = server.eio.sockets[server.manager.eio_sid_from_sid(sid, "/")]
        self.line = line
        """The WebSocket, from the beginning or noted when it was upgraded to; None while polling."""
        self.session: str = self._socket.sid
        self._queued_at = 0.0
        self._closing: asyncio.Task[None] | None = None

    def send(self, event: str, body: bytes) -> None:
        self._queue(b'2["%b",%b]' % (event.encode(), body))

    def push(self, event: str, body: bytes) -> None:
        packet = b'2["%b",%b]' % (event.encode(), body)
        if self._is_direct:
            assert self.line is not None
            self.line.write(text_frame(b"4" + packet))
        else:
            self._queue(packet)

    def push_list(self, event: str, elements: bytes) -> None:
        self.push(event, b"[" + elements + b"]")

    @property
    def is_behind(self) -> bool:
        return self._socket.queue.qsize() > BEHIND_PACKETS or (self.line is not None and self.line.is_behind)

    def close(self, closing: Closing) -> None:
        if self._closing is not None:
            return
        log.info("connection ended", reason=closing, session=self.session)
        if closing is Closing.TOO_SLOW:
            # Nothing that is said would be read; a client that lives comes back by itself and resumes.
            self._closing = asyncio.create_task(self._cut(), name=f"cut {self._sid}")
        else:
            self.send("closing", closing.body)
            self._closing = asyncio.create_task(self._end(), name=f"close {self._sid}")

    @property
    def _is_direct(self) -> bool:
        """Straight to the transport: only when nothing that was queued before can still be on its way."""
        return (
            self.line is not None
            and bool(self._socket.upgraded)
            and self._socket.queue.empty()
            and asyncio.get_running_loop().time() - self._queued_at > SETTLE_SECONDS
        )

    def _queue(self, packet: bytes) -> None:
        if self._closing is None:
            self._queued_at = asyncio.get_running_loop().time()
            self._socket.queue.put_nowait(Packet(MESSAGE, packet.decode()))
            if self._socket.queue.qsize() > QUEUE_MAX:
                self.close(Closing.TOO_SLOW)

    async def _cut(self) -> None:
        if self.line is not None:
            self.line.abort()
        await self._socket.close(wait=False, abort=True)

    async def _end(self) -> None:
        """Socket.IO's goodbye and Engine.IO's; a client that takes neither is left."""
        await self._server.disconnect(self._sid)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._server.eio.disconnect(self.session)


class SocketIo:
    """The ASGI application of the path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clients: dict[str, tuple[SocketIoWire, Client]] = {}
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            # Who asks is told by the token alone, never by a cookie: any origin may connect.
            cors_allowed_origins="*",
            cors_credentials=False,
            max_http_buffer_size=MESSAGE_BYTES_MAX,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            # A hostile client could fill the disk with what these log of it.
            logger=_quiet,
            engineio_logger=_quiet,
        )
        self._server.eio.create_queue = Backlog
        self._wires: dict[str, SocketIoWire] = {}
        """By Engine.IO session, for the upgrade."""
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._disconnected)
        for verb, handler in gateway.verbs.items():
            self._server.on(verb, self._following(handler))
        self._engine = socketio.ASGIApp(self._server, socketio_path=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Engine.IO's requests; an upgrade is noted, so that ticks need not pass through it."""
        session = parse_qs(scope["query_string"]).get(b"sid", [b""])[0].decode("latin-1")
        socket = self._server.eio.sockets.get(session)
        if scope["type"] == "websocket" and (wire := self._wires.get(session)) is not None:
            wire.line = line_of(scope)
        try:
            await self._engine(scope, receive, send)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            # python-engineio decodes outside of any guard; what it chokes on costs the client its connection.
            log.warning("frame not understood", peer=scope["client"], error=repr(error)[:200])
        if socket is not None and socket.closed and scope.get("method") == "POST":
            # The client said goodbye: its poll, which waits for a packet, is answered as the protocol asks.
            socket.queue.put_nowait(Packet(NOOP))

    async def run(self) -> None:
        """Until cancelled: end connections that do not sign in."""
        sockets = self._server.eio.sockets
        strangers: set[str] = set()
        while True:
            await asyncio.sleep(AUTH_SECONDS)
            for session in strangers & sockets.keys() - self._wires.keys():
                log.warning("connection without sign-in", session=session)
                await sockets[session].close(wait=False)
            strangers = sockets.keys() - self._wires.keys()

    async def _connected(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        scope = environ["asgi.scope"]
        wire = SocketIoWire(self._server, sid, line_of(scope) if scope["type"] == "websocket" else None)
        try:
            self._clients[sid] = wire, self._gateway.admit(auth, wire)
            self._wires[wire.session] = wire
        except Refused as refusal:
            raise socketio.exceptions.ConnectionRefusedError(str(refusal), refusal.answer) from None

    async def _disconnected(self, sid: str, _reason: str) -> None:
        if (found := self._clients.pop(sid, None)) is not None:
            wire, client = found
            self._wires.pop(wire.session, None)
            await self._gateway.leave(client)

    def _following(self, verb: Any) -> Any:
        async def follow(sid: str, *said: object) -> dict[str, Any]:
            if (found := self._clients.get(sid)) is None:
                return {}
            return await self._gateway.follow(found[1], verb, said[0] if said else None)

        return follow
