"""The Socket.IO front: python-socketio owns handshake, sessions, polling and upgrade; the gateway decides.

Events of a client are handled one after the other, so a client that floods waits for itself. What is sent
goes through Engine.IO's queue and so survives the upgrade from polling in order. Protocol: Socket.IO 5 over
Engine.IO 4. Mounted by realtime/app.py.
"""

import asyncio
from contextlib import suppress
from typing import Any

import socketio
from engineio.packet import MESSAGE, Packet

from realtime.clients import Client, Closing
from realtime.gateway import Gateway
from realtime.messages import Refused

MESSAGE_BYTES_MAX = 64 * 1024
"""Of one message from a client; 3,000 instrument ids fit."""
QUEUE_MAX = 2_000
"""Packets that wait for a client before it counts as stalled."""
PING_SECONDS, PONG_SECONDS, GOODBYE_SECONDS = 15, 10, 2


class SocketIoWire:
    """One Engine.IO socket."""

    def __init__(self, server: socketio.AsyncServer, sid: str) -> None:
        self._server, self._sid = server, sid
        self._socket = server.eio.sockets[server.manager.eio_sid_from_sid(sid, "/")]
        self._closing: asyncio.Task[None] | None = None

    def send(self, event: str, body: bytes) -> None:
        if self._closing is None:
            self._socket.queue.put_nowait(Packet(MESSAGE, f'2["{event}",{body.decode()}]'))
            if self._socket.queue.qsize() > QUEUE_MAX:
                self.close(Closing.TOO_SLOW)

    def close(self, closing: Closing) -> None:
        if self._closing is None:
            self.send("closing", closing.body)
            self._closing = asyncio.create_task(self._end(), name=f"close {self._sid}")

    async def _end(self) -> None:
        """Socket.IO's goodbye and Engine.IO's; a client that takes neither is left."""
        await self._server.disconnect(self._sid)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._server.eio.disconnect(self._socket.sid), GOODBYE_SECONDS)


class SocketIo:
    """`engine` is the ASGI application of the path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clients: dict[str, Client] = {}
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            # Who asks is told by the token alone, never by a cookie: any origin may connect.
            cors_allowed_origins="*",
            cors_credentials=False,
            max_http_buffer_size=MESSAGE_BYTES_MAX,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
        )
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._disconnected)
        for verb, handler in gateway.verbs.items():
            self._server.on(verb, self._following(handler))
        self.engine = socketio.ASGIApp(self._server, socketio_path=None)

    async def stop(self) -> None:
        await self._server.shutdown()

    async def _connected(self, sid: str, _environ: dict[str, Any], auth: object = None) -> None:
        try:
            self._clients[sid] = self._gateway.admit(auth, SocketIoWire(self._server, sid))
        except Refused as refusal:
            raise socketio.exceptions.ConnectionRefusedError(str(refusal), refusal.answer) from None

    async def _disconnected(self, sid: str, _reason: str) -> None:
        if (client := self._clients.pop(sid, None)) is not None:
            await self._gateway.leave(client)

    def _following(self, verb: Any) -> Any:
        async def follow(sid: str, *said: object) -> dict[str, Any]:
            client = self._clients.get(sid)
            if client is None:
                return {}
            return await self._gateway.follow(client, verb, said[0] if said else None)

        return follow
