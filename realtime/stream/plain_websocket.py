"""The plain WebSocket front: the same words as JSON frames, for clients without a Socket.IO library.

A client's first frame is `{"action": "auth", "token": ...}`; every frame gets one answer, which carries the
frame's `id` back. Mounted by realtime/app.py.
"""

from functools import partial
from typing import Any

import msgspec
import structlog
from websockets.frames import CloseCode

from realtime.stream.clients import Client, Closing
from realtime.stream.gateway import Gateway
from realtime.stream.messages import MessageRefused
from realtime.stream.strangers import OVERDUE, Stranger
from realtime.websocket.connection import WebSocketConnection
from realtime.websocket.frames import PING, text_frame

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class PlainWire:
    __slots__ = ("_line",)

    def __init__(self, line: WebSocketConnection) -> None:
        self._line = line

    def send(self, event: str, body: bytes) -> None:
        self.push(event, body)

    def push(self, _event: str, body: bytes) -> None:
        self._line.write(text_frame(body))

    def push_list(self, event: str, elements: bytes) -> None:
        name = event.encode()
        self.push(event, b'{"type":"%b","%b":[%b]}' % (name, name, elements))

    @property
    def is_behind(self) -> bool:
        return self._line.is_behind

    def close(self, closing: Closing) -> None:
        if not self._line.is_open:
            return
        log.info("connection ended", reason=closing, peer=self._line.peer)
        if closing is Closing.TOO_SLOW:
            # Nothing that is said would be read; a client that lives comes back and resumes.
            self._line.abort()
        else:
            self.push("closing", closing.body)
            self._line.close(CloseCode.POLICY_VIOLATION, closing)


class Plain:
    """`asked` for each connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def asked(self, line: WebSocketConnection, stranger: Stranger) -> None:
        line.accept(_Receiver(self._gateway, line, stranger))


class _Receiver:
    """One connection, from its first frame to its last."""

    __slots__ = ("_client", "_gateway", "_line", "_stranger")
    ping = PING

    def __init__(self, gateway: Gateway, line: WebSocketConnection, stranger: Stranger) -> None:
        self._gateway, self._line = gateway, line
        self._client: Client | None = None
        self._stranger: Stranger | None = stranger
        stranger.watch(partial(self._end, OVERDUE.code))

    async def follow(self, message: str | bytes) -> None:
        try:
            said = _said(message)
            if self._client is None:
                self._client = self._admitted(said)
            else:
                await self._follow(self._client, said)
        except MessageRefused as refusal:
            self._end(refusal.code)

    async def gone(self) -> None:
        self._settle()
        if self._client is not None:
            await self._gateway.leave(self._client)

    def _admitted(self, said: dict[str, Any]) -> Client:
        """Raises Refused, after telling the client why."""
        wire = PlainWire(self._line)
        try:
            if said.get("action") != "auth":
                raise MessageRefused(
                    "AUTH_MISSING", 'The first frame must be {"action": "auth", "token": ...}.'
                )
            client = self._gateway.admit(said, wire)
        except MessageRefused as refusal:
            wire.send("answer", _answer(said, refusal.answer))
            raise
        wire.send("answer", _answer(said, {"ok": True}))
        self._settle()
        return client

    async def _follow(self, client: Client, said: dict[str, Any]) -> None:
        verb = self._gateway.verbs.get(str(said.get("action")))
        if verb is None:
            detail = f"There is no such action; there are {', '.join(self._gateway.verbs)}."
            answer = MessageRefused("ACTION_UNKNOWN", detail).answer
        else:
            answer = await self._gateway.follow(client, verb, said)
        client.wire.send("answer", _answer(said, answer))

    def _settle(self) -> None:
        if self._stranger is not None:
            self._stranger.settled()
            self._stranger = None

    def _end(self, code: str) -> None:
        self._line.close(CloseCode.POLICY_VIOLATION, code)


def _said(message: str | bytes) -> dict[str, Any]:
    """Raises Refused for what is no JSON object."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessageRefused("FRAME_INVALID", "A frame is one JSON object.") from None


def _answer(said: dict[str, Any], answer: dict[str, Any]) -> bytes:
    echo = {name: said[name] for name in ("action", "id") if name in said}
    return _encode({"type": "answer", **echo, **answer})
