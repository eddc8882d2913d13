"""The plain WebSocket front: the same messages as JSON frames, for clients without a Socket.IO library.

A client's first frame is `{"action": "auth", "token": ...}`; every frame gets one answer, which carries the
frame's `action` and `id` back. Mounted by realtime/app.py.
"""

from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import UNSET
from websockets.frames import CloseCode

from bus.stream_frames import AnswerFrame, MessageAnswer, encode
from realtime.stream.clients import Client, Closing
from realtime.stream.gateway import Gateway
from realtime.stream.messages import Action, MessageRefused
from realtime.stream.strangers import OVERDUE, Stranger
from realtime.websocket.connection import WebSocketConnection
from realtime.websocket.frames import PING, text_frame

log = structlog.get_logger()
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
        log.info("connection_ended", reason=closing, peer=self._line.peer)
        if closing is Closing.TOO_SLOW:
            # The client would not read a reason; one that lives comes back and resumes.
            self._line.abort()
        else:
            self.push("closing", closing.body)
            self._line.close(CloseCode.POLICY_VIOLATION, closing)


class Plain:
    """Accepts the connections of the path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def accept(self, line: WebSocketConnection, stranger: Stranger) -> None:
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
            frame = _decoded(message)
            if self._client is None:
                self._client = self._admit(frame)
            else:
                await self._handle(self._client, frame)
        except MessageRefused as refusal:
            self._end(refusal.code)

    async def gone(self) -> None:
        self._settle()
        if self._client is not None:
            await self._gateway.leave(self._client)

    def _admit(self, frame: dict[str, Any]) -> Client:
        """Admit the client, and send the answer either way. Raises MessageRefused."""
        wire = PlainWire(self._line)
        try:
            if frame.get("action") != Action.AUTH:
                raise MessageRefused(
                    "AUTH_MISSING", 'The first frame must be {"action": "auth", "token": ...}.'
                )
            client = self._gateway.admit(frame, wire)
        except MessageRefused as refusal:
            wire.send("answer", _answer(frame, refusal.answer))
            raise
        wire.send("answer", _answer(frame, MessageAnswer(ok=True)))
        self._settle()
        return client

    async def _handle(self, client: Client, frame: dict[str, Any]) -> None:
        handler = self._gateway.handlers.get(str(frame.get("action")))
        if handler is None:
            detail = f"There is no such action; there are {', '.join(self._gateway.handlers)}."
            answer = MessageRefused("ACTION_UNKNOWN", detail).answer
        else:
            answer = await self._gateway.handle(client, handler, frame)
        client.wire.send("answer", _answer(frame, answer))

    def _settle(self) -> None:
        if self._stranger is not None:
            self._stranger.settled()
            self._stranger = None

    def _end(self, code: str) -> None:
        self._line.close(CloseCode.POLICY_VIOLATION, code)


def _decoded(message: str | bytes) -> dict[str, Any]:
    """Decode a frame. Raises MessageRefused unless it is a JSON object."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessageRefused("FRAME_INVALID", "A frame is one JSON object.") from None


def _answer(frame: dict[str, Any], answer: MessageAnswer) -> bytes:
    """The answer with the `action` and the `id` of its frame, where it has them."""
    echo = {name: frame.get(name, UNSET) for name in ("action", "id")}
    return encode(AnswerFrame(**echo, **msgspec.structs.asdict(answer)))
