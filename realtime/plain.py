"""The plain WebSocket front: the same words as JSON frames, for clients without a Socket.IO library.

A client's first frame is `{"action": "auth", "token": ...}`; every frame gets one answer, which carries the
frame's `id` back. What is sent is written to the transport at once. Mounted by realtime/app.py.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from realtime.clients import Client, Closing
from realtime.gateway import Gateway
from realtime.line import Line, line_of, text_frame
from realtime.messages import Refused

AUTH_SECONDS = 10.0
WAITING_BYTES_MAX = 1024 * 1024
"""Written and not taken before a client counts as stalled."""
POLICY_VIOLATION = 1008
log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class PlainWire:
    def __init__(self, websocket: WebSocket, line: Line) -> None:
        self._websocket, self._line = websocket, line
        self._closing: asyncio.Task[None] | None = None

    def send(self, event: str, body: bytes) -> None:
        self.push(event, body)
        if self._line.waiting_bytes > WAITING_BYTES_MAX:
            self.close(Closing.TOO_SLOW)

    def push(self, _event: str, body: bytes) -> None:
        self._line.write(text_frame(body))

    def push_list(self, event: str, elements: bytes) -> None:
        name = event.encode()
        self.push(event, b'{"type":"%b","%b":[%b]}' % (name, name, elements))

    @property
    def is_behind(self) -> bool:
        return self._line.is_behind

    def close(self, closing: Closing) -> None:
        if self._closing is not None or not self._line.is_open:
            return
        log.info("connection ended", reason=closing, peer=self._line.client)
        if closing is Closing.TOO_SLOW:
            # Nothing that is said would be read; a client that lives comes back and resumes.
            self._line.abort()
        else:
            self.push("closing", closing.body)
            self._closing = asyncio.create_task(self.end(closing))

    async def end(self, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(POLICY_VIOLATION, reason)


class Plain:
    """`serve` is the endpoint of the path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def serve(self, websocket: WebSocket) -> None:
        """One connection, from its first frame to its last."""
        await websocket.accept()
        wire = PlainWire(websocket, line_of(websocket.scope))
        client = None
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                client = await self._admitted(websocket, wire)
            while True:
                await self._follow(client, await _said(websocket))
        except (WebSocketDisconnect, RuntimeError):
            pass
        except TimeoutError:
            await wire.end("AUTH_MISSING")
        except Refused as refusal:
            await wire.end(refusal.code)
        finally:
            if client is not None:
                await self._gateway.leave(client)

    async def _admitted(self, websocket: WebSocket, wire: PlainWire) -> Client:
        """Raises Refused, after telling the client why."""
        said = await _said(websocket)
        try:
            if said.get("action") != "auth":
                raise Refused("AUTH_MISSING", 'The first frame must be {"action": "auth", "token": ...}.')
            client = self._gateway.admit(said, wire)
        except Refused as refusal:
            wire.send("answer", _answer(said, refusal.answer))
            raise
        wire.send("answer", _answer(said, {"ok": True}))
        return client

    async def _follow(self, client: Client, said: dict[str, Any]) -> None:
        verb = self._gateway.verbs.get(str(said.get("action")))
        if verb is None:
            detail = f"There is no such action; there are {', '.join(self._gateway.verbs)}."
            answer = Refused("ACTION_UNKNOWN", detail).answer
        else:
            answer = await self._gateway.follow(client, verb, said)
        client.wire.send("answer", _answer(said, answer))


async def _said(websocket: WebSocket) -> dict[str, Any]:
    """The next frame. Raises Refused for one that is no JSON object."""
    frame = await websocket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code", 1005))
    try:
        return _decode(frame.get("text") or frame.get("bytes") or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("FRAME_INVALID", "A frame is one JSON object.") from None


def _answer(said: dict[str, Any], answer: dict[str, Any]) -> bytes:
    echo = {name: said[name] for name in ("action", "id") if name in said}
    return _encode({"type": "answer", **echo, **answer})
