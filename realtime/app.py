"""The stream's ASGI application: Socket.IO and plain WebSocket below one path, and nothing else.

Run by workers/realtime.py on uvicorn with `Line` as its WebSocket protocol.
"""

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from realtime.gateway import Gateway
from realtime.plain import Plain
from realtime.socket_io import MESSAGE_BYTES_MAX, SocketIo

STREAM = "/api/v1/stream"


def create_app(gateway: Gateway, socket_io: SocketIo) -> ASGIApp:
    """The application of a gateway and a Socket.IO front that run."""
    others = Starlette(
        routes=[
            WebSocketRoute(f"{STREAM}/ws", Plain(gateway).serve),
            Route("/healthz", _healthy),
        ],
        exception_handlers={HTTPException: _problem},
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].rstrip("/") == STREAM:
            if scope["type"] == "http" and (refusal := _refusal(Headers(scope=scope))) is not None:
                await refusal(scope, receive, send)
            else:
                await socket_io(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _refusal(headers: Headers) -> JSONResponse | None:
    """Engine.IO reads a body to its end: one that is too long, or does not say how long, is not begun."""
    if "chunked" in headers.get("transfer-encoding", ""):
        return _document(HTTPStatus.LENGTH_REQUIRED, "A body says its length.")
    if int(headers.get("content-length", "0")) > MESSAGE_BYTES_MAX:
        detail = f"A body has at most {MESSAGE_BYTES_MAX} bytes."
        return _document(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return None


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    return _document(status, f"The stream is at {STREAM} (Socket.IO) and {STREAM}/ws (plain WebSocket).")


def _document(status: HTTPStatus, detail: str) -> JSONResponse:
    """A problem document (RFC 9457), as the API has them."""
    body = {
        "type": f"urn:hundi:problem:{status.name.lower().replace('_', '-')}",
        "title": status.phrase,
        "status": status.value,
        "code": status.name,
        "detail": detail,
        "retryable": False,
    }
    return JSONResponse(body, status.value, media_type="application/problem+json")
