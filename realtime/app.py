"""The stream's ASGI application: Socket.IO and plain WebSocket below one path, and nothing else.

Run by workers/realtime.py on uvicorn with `Line` as its WebSocket protocol.
"""

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from realtime.gateway import Gateway
from realtime.plain import Plain
from realtime.socket_io import SocketIo

STREAM = "/api/v1/stream"


def create_app(gateway: Gateway) -> ASGIApp:
    """The application of a gateway that runs."""
    socket_io = SocketIo(gateway)
    others = Starlette(
        routes=[
            WebSocketRoute(f"{STREAM}/ws", Plain(gateway).serve),
            Route("/healthz", _healthy),
        ],
        exception_handlers={HTTPException: _problem},
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].rstrip("/") == STREAM:
            await socket_io(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app


async def _healthy(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    """A problem document (RFC 9457), as the API has them."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 500)
    body = {
        "type": f"urn:hundi:problem:{status.name.lower().replace('_', '-')}",
        "title": status.phrase,
        "status": status.value,
        "code": status.name,
        "detail": f"The stream is at {STREAM} (Socket.IO) and {STREAM}/ws (plain WebSocket).",
        "retryable": False,
    }
    return JSONResponse(body, status.value, media_type="application/problem+json")
