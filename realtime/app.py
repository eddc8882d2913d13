"""The stream as uvicorn serves it: Socket.IO and plain WebSocket below one path, and nothing else.

Run by workers/realtime.py.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from domain.problem_documents import ProblemCode
from realtime.problems import document
from realtime.stream.gateway import Gateway
from realtime.stream.messages import MessageRefused
from realtime.stream.plain_websocket import Plain
from realtime.stream.socket_io import SocketIo, readable, session_of
from realtime.stream.strangers import Strangers
from realtime.websocket.connection import MESSAGE_BYTES_MAX, WebSocketConnection
from realtime.websocket.connections import WebSocketConnections
from realtime.websocket.engineio_driver import STRANGER

STREAM = "/api/v1/stream"
_WHERE = f"The stream is at {STREAM} (Socket.IO) and {STREAM}/ws (plain WebSocket)."


class Stream:
    """The ASGI application of a running gateway, and the `lines` of its WebSockets; `run` must be under way.

    uvicorn and the stream must be given the same trusted proxies.
    """

    def __init__(self, gateway: Gateway, trusted_proxies: Sequence[str] = ()) -> None:
        self._socket_io, self._plain = SocketIo(gateway), Plain(gateway)
        self._strangers = Strangers(trusted_proxies)
        self._others = Starlette(
            routes=[Route("/healthz", _healthy)], exception_handlers={HTTPException: _problem}
        )
        self.lines = WebSocketConnections(self._accept)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.lines.run(), name="pulse")
            tasks.create_task(self._socket_io.run(), name="socket.io sessions")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].rstrip("/") != STREAM:
            await self._others(scope, receive, send)
        elif (refusal := _refusal(Headers(scope=scope))) is not None:
            await readable(refusal, scope)(scope, receive, send)
        elif scope["method"] == "GET" and not session_of(scope):
            await self._begin(scope, receive, send)
        else:
            await self._socket_io(scope, receive, send)

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a session that polls."""
        try:
            with self._strangers.arrival((scope["client"] or ("",))[0]) as stranger:
                await self._socket_io({**scope, STRANGER: stranger}, receive, send)
        except MessageRefused as refusal:
            answer = document(HTTPStatus.TOO_MANY_REQUESTS, refusal.detail, refusal.code)
            await readable(answer, scope)(scope, receive, send)

    async def _accept(self, line: WebSocketConnection, path: str, query: str) -> None:
        if path.rstrip("/") != STREAM and path != f"{STREAM}/ws":
            line.refuse(HTTPStatus.NOT_FOUND, _WHERE)
            return
        address = self._strangers.address_of(line.peer[0], line.forwarded_for)
        try:
            with self._strangers.arrival(address) as stranger:
                if path == f"{STREAM}/ws":
                    await self._plain.accept(line, stranger)
                else:
                    await self._socket_io.accept(line, query, stranger)
        except MessageRefused as refusal:
            line.refuse(HTTPStatus.TOO_MANY_REQUESTS, f"{refusal.code}: {refusal.detail}")


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _refusal(headers: Headers) -> JSONResponse | None:
    """Refuse a body that is too long or of unknown length: Engine.IO would read it to its end."""
    if "chunked" in headers.get("transfer-encoding", ""):
        return document(HTTPStatus.LENGTH_REQUIRED, "A body says its length.")
    if int(headers.get("content-length", "0")) > MESSAGE_BYTES_MAX:
        detail = f"A body has at most {MESSAGE_BYTES_MAX} bytes."
        return document(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, ProblemCode.BODY_TOO_LARGE)
    return None


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    return document(status, _WHERE)
