"""The stream as uvicorn serves it: Socket.IO and plain WebSocket below one path, and nothing else.

Run by workers/realtime.py.
"""

import asyncio
import secrets
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from domain.problem_documents import EVERY_ANSWER, MEDIA_TYPE, ProblemCode, problem_document
from realtime.gateway import Gateway
from realtime.line import MESSAGE_BYTES_MAX, Line, Lines
from realtime.plain import Plain
from realtime.socket_io import SocketIo

STREAM = "/api/v1/stream"
_WHERE = f"The stream is at {STREAM} (Socket.IO) and {STREAM}/ws (plain WebSocket)."


class Stream:
    """ASGI application of a gateway that runs, and the `lines` of its WebSockets; `run` must be under way."""

    def __init__(self, gateway: Gateway) -> None:
        self._socket_io, self._plain = SocketIo(gateway), Plain(gateway)
        self._others = Starlette(
            routes=[Route("/healthz", _healthy)], exception_handlers={HTTPException: _problem}
        )
        self.lines = Lines(self._asked)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.lines.run(), name="pulse")
            tasks.create_task(self._socket_io.run(), name="socket.io sessions")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].rstrip("/") != STREAM:
            await self._others(scope, receive, send)
        elif (refusal := _refusal(Headers(scope=scope))) is not None:
            await refusal(scope, receive, send)
        else:
            await self._socket_io(scope, receive, send)

    async def _asked(self, line: Line, path: str, query: str) -> None:
        if path.rstrip("/") == STREAM:
            await self._socket_io.asked(line, query)
        elif path == f"{STREAM}/ws":
            await self._plain.asked(line)
        else:
            line.refuse(HTTPStatus.NOT_FOUND, _WHERE)


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _refusal(headers: Headers) -> JSONResponse | None:
    """Engine.IO reads a body to its end: one that is too long, or does not say how long, is not begun."""
    if "chunked" in headers.get("transfer-encoding", ""):
        return _document(HTTPStatus.LENGTH_REQUIRED, "A body says its length.")
    if int(headers.get("content-length", "0")) > MESSAGE_BYTES_MAX:
        detail = f"A body has at most {MESSAGE_BYTES_MAX} bytes."
        return _document(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, ProblemCode.BODY_TOO_LARGE)
    return None


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _document(HTTPStatus(error.status_code), _WHERE)


def _document(status: HTTPStatus, detail: str, code: ProblemCode | None = None) -> JSONResponse:
    trace_id = secrets.token_hex(16)
    body = problem_document(status, code or ProblemCode[status.name], detail, trace_id)
    return JSONResponse(body, status.value, {"X-Trace-Id": trace_id, **EVERY_ANSWER}, MEDIA_TYPE)
