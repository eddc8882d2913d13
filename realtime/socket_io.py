"""The Socket.IO front: python-socketio owns handshake, sessions, polling and upgrade; the gateway decides.

Events of a client are handled one after the other, so a client that floods waits for itself. All that a
client is told goes through its outbox (realtime/engine.py), in order. Protocol: Socket.IO 5 over Engine.IO 4.
Mounted by realtime/app.py.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import socketio
import structlog
from engineio.packet import NOOP, Packet
from starlette.types import Receive, Scope, Send

from realtime.clients import Client, Closing
from realtime.engine import Driver, Outbox
from realtime.gateway import Gateway
from realtime.line import MESSAGE_BYTES_MAX
from realtime.lines import PULSE_SECONDS
from realtime.messages import Refused

PONG_SECONDS, GOODBYE_SECONDS = 10, 2
CHECK_SECONDS = 10
"""Within which a connection has to sign in."""
_quiet = logging.getLogger("hundi.engineio")
_quiet.setLevel(logging.CRITICAL)
log = structlog.get_logger()


class SocketIoWire:
    """One Engine.IO socket."""

    __slots__ = ("_closing", "_outbox", "_server", "_sid", "session")

    def __init__(self, server: socketio.AsyncServer, sid: str) -> None:
        self._server, self._sid = server, sid
        self.session: str = server.manager.eio_sid_from_sid(sid, "/")
        self._outbox: Outbox = server.eio.sockets[self.session].queue
        self._closing: asyncio.Task[None] | None = None

    def send(self, event: str, body: bytes) -> None:
        self.push(event, body)
        if self._outbox.is_stalled:
            self.close(Closing.TOO_SLOW)

    def push(self, event: str, body: bytes) -> None:
        if self._closing is None:
            self._outbox.say(b'2["%b",%b]' % (event.encode(), body))

    def push_list(self, event: str, elements: bytes) -> None:
        self.push(event, b"[%b]" % elements)

    @property
    def is_behind(self) -> bool:
        return self._outbox.is_behind

    def close(self, closing: Closing) -> None:
        if self._closing is not None:
            return
        log.info("connection ended", reason=closing, session=self.session)
        if closing is Closing.TOO_SLOW:
            # Nothing that is said would be read; a client that lives comes back by itself and resumes.
            self._closing = asyncio.create_task(self._cut(), name=f"cut {self._sid}")
        else:
            self.push("closing", closing.body)
            self._closing = asyncio.create_task(self._end(), name=f"close {self._sid}")

    async def _cut(self) -> None:
        if self._outbox.line is not None:
            self._outbox.line.abort()
        else:
            await self._server.eio.sockets[self.session].close(wait=False, abort=True)

    async def _end(self) -> None:
        """Socket.IO's goodbye and Engine.IO's; a client that takes neither is left."""
        await self._server.disconnect(self._sid)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._server.eio.disconnect(self.session)


class _Manager(socketio.AsyncManager):  # type: ignore[misc]
    """No rooms: python-socketio has one for every client, and looks at all of them when one leaves."""

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        if room is None:
            super().basic_enter_room(sid, namespace, room, eio_sid)


class SocketIo:
    """The ASGI application of the path, and the front of its WebSockets."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clients: dict[str, tuple[SocketIoWire, Client]] = {}
        self._sessions: set[str] = set()
        """Engine.IO's, of those who have signed in."""
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            client_manager=_Manager(),
            # Who asks is told by the token alone, never by a cookie: any origin may connect.
            cors_allowed_origins="*",
            cors_credentials=False,
            max_http_buffer_size=MESSAGE_BYTES_MAX,
            ping_interval=PULSE_SECONDS,
            ping_timeout=PONG_SECONDS,
            monitor_clients=False,
            # A hostile client could fill the disk with what these log of it.
            logger=_quiet,
            engineio_logger=_quiet,
        )
        self._driver = Driver(self._server.eio)
        self.asked = self._driver.asked
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._disconnected)
        for verb, handler in gateway.verbs.items():
            self._server.on(verb, self._following(handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Engine.IO's HTTP requests."""
        session = parse_qs(scope["query_string"]).get(b"sid", [b""])[0].decode("latin-1")
        socket = self._server.eio.sockets.get(session)
        try:
            await self._server.handle_request(scope, receive, send)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            # python-engineio decodes outside of any guard; what it chokes on costs the client its connection.
            log.warning("message not understood", peer=scope["client"], error=repr(error)[:200])
        if socket is not None and socket.closed and scope["method"] == "POST":
            # The client said goodbye: its poll, which waits for a packet, is answered as the protocol asks.
            socket.queue.put_nowait(Packet(NOOP))

    async def run(self) -> None:
        """Until cancelled: end connections that do not sign in, or poll no more."""
        sockets = self._server.eio.sockets
        strangers: set[str] = set()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for session in strangers & sockets.keys() - self._sessions:
                log.warning("connection without sign-in", session=session)
                await sockets[session].close(wait=False)
            await self._driver.check()
            strangers = sockets.keys() - self._sessions

    async def _connected(self, sid: str, _environ: dict[str, Any], auth: object = None) -> None:
        wire = SocketIoWire(self._server, sid)
        try:
            self._clients[sid] = wire, self._gateway.admit(auth, wire)
            self._sessions.add(wire.session)
        except Refused as refusal:
            raise socketio.exceptions.ConnectionRefusedError(str(refusal), refusal.answer) from None

    async def _disconnected(self, sid: str, _reason: str) -> None:
        if (found := self._clients.pop(sid, None)) is not None:
            wire, client = found
            self._sessions.discard(wire.session)
            await self._gateway.leave(client)

    def _following(self, verb: Any) -> Any:
        async def follow(sid: str, *said: object) -> dict[str, Any]:
            if (found := self._clients.get(sid)) is None:
                return {}
            return await self._gateway.follow(found[1], verb, said[0] if said else None)

        return follow
