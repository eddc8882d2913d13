"""The Socket.IO front: python-socketio owns handshake, sessions, polling and upgrade; the gateway decides.

The events of a client are handled one after the other, so a client that floods waits for itself. Every frame
to a client goes through its outbox (realtime/websocket/engineio_driver.py), in order. Protocol: Socket.IO 5
over Engine.IO 4. Mounted by realtime/app.py.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import msgspec
import socketio
import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bus.stream_frames import ClosingFrame, encode
from realtime.stream.clients import Client, Closing
from realtime.stream.gateway import Gateway, Handler
from realtime.stream.messages import MessageRefused
from realtime.websocket.connection import GOODBYE_SECONDS, MESSAGE_BYTES_MAX
from realtime.websocket.connections import PULSE_SECONDS
from realtime.websocket.engineio_driver import Driver
from realtime.websocket.outbox import Outbox
from realtime.websocket.polling import follow_post

PONG_SECONDS = 10
CHECK_SECONDS = 10
"""Seconds between two checks for connections that have stopped to poll."""
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
        log.info("connection_ended", reason=closing, session=self.session)
        if closing is Closing.TOO_SLOW:
            # The client would not read a reason; one that lives comes back by itself and resumes.
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
        """Disconnect from Socket.IO and from Engine.IO; a client that reads neither packet is left alone."""
        await self._server.disconnect(self._sid)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._server.eio.disconnect(self.session)


class _Manager(socketio.AsyncManager):  # type: ignore[misc]
    """A manager without rooms: python-socketio has one a client, and looks at all of them when one leaves."""

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        if room is None:
            super().basic_enter_room(sid, namespace, room, eio_sid)


class SocketIo:
    """The ASGI application of the path; `accept` takes its WebSockets."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clients: dict[str, tuple[SocketIoWire, Client]] = {}
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            client_manager=_Manager(),
            # A client is known by its token alone, never by a cookie: any origin may connect.
            cors_allowed_origins="*",
            cors_credentials=False,
            max_http_buffer_size=MESSAGE_BYTES_MAX,
            ping_interval=PULSE_SECONDS,
            ping_timeout=PONG_SECONDS,
            monitor_clients=False,
            # These log whatever a client sends: a hostile one could fill the disk.
            logger=_quiet,
            engineio_logger=_quiet,
        )
        self._driver = Driver(self._server.eio, self._farewell)
        self.accept = self._driver.asked
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._disconnected)
        for action, handler in gateway.handlers.items():
            self._server.on(action, self._handled_by(handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an HTTP request of Engine.IO; if it begins a session, its scope has the stranger."""
        socket = self._server.eio.sockets.get(session_of(scope))
        if scope["method"] == "POST" and socket is not None and socket.connected and not socket.upgraded:
            response = await follow_post(self._driver, socket, Request(scope, receive))
            if response is not None:
                await readable(response, scope)(scope, receive, send)
            return
        try:
            await self._server.handle_request(scope, receive, send)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            # python-engineio decodes outside of any guard; an error there costs the client its connection.
            log.warning("message_not_understood", peer=scope["client"], error=repr(error)[:200])

    async def run(self) -> None:
        """End connections that have stopped to poll, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._driver.check()

    async def _connected(self, sid: str, _environ: dict[str, Any], auth: object = None) -> None:
        wire = SocketIoWire(self._server, sid)
        try:
            self._clients[sid] = wire, self._gateway.admit(auth, wire)
        except MessageRefused as refusal:
            raise socketio.exceptions.ConnectionRefusedError(
                str(refusal), msgspec.to_builtins(refusal.answer)
            ) from None
        self._driver.signed_in(wire.session)

    async def _disconnected(self, sid: str, _reason: str) -> None:
        if (found := self._clients.pop(sid, None)) is not None:
            wire, client = found
            self._driver.signed_out(wire.session)
            await self._gateway.leave(client)

    def _farewell(self, session: str, refusal: MessageRefused) -> bytes:
        """The packet with the reason why a session ends: `closing`, or before sign-in `connect_error`."""
        if self._server.manager.sid_from_eio_sid(session, "/") in self._clients:
            return b'2["closing",%b]' % encode(ClosingFrame(code=refusal.code, detail=refusal.detail))
        return b"4" + encode({"message": refusal.detail, "data": refusal.answer})

    def _handled_by(self, handler: Handler) -> Any:
        """The callback of python-socketio for an event; it returns the acknowledgement."""

        async def handle(sid: str, *arguments: object) -> Any:
            if (found := self._clients.get(sid)) is None:
                return {}
            message = arguments[0] if arguments else None
            return msgspec.to_builtins(await self._gateway.handle(found[1], handler, message))

        return handle


def session_of(scope: Scope) -> str:
    """The Engine.IO session that a request names; empty for a new one."""
    query: bytes = scope["query_string"]
    return parse_qs(query).get(b"sid", [b""])[0].decode("latin-1")


def readable(response: Response, scope: Scope) -> Response:
    """The response, readable by a page of any origin, as every answer of python-engineio is."""
    if (origin := Headers(scope=scope).get("origin")) is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    return response
