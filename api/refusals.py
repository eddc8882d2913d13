"""Refusals of acts, as they are answered: handed to the record (storage/refused_requests.py).

A route acts if its method does; GETs and paths or methods that are none are no acts. A session names the
asker, also where its role is refused; a sign-in that fails is a stranger's, who claims to be someone. Plain
ASGI, inside the tracing: the answer itself waits for nothing.
"""

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.origin import origin
from api.problems import ProblemCode
from config.tokens import Session
from storage.refused_requests import STRANGER, RefusedRequest

ACTING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NO_REFUSALS = frozenset(
    {
        ProblemCode.METHOD_NOT_ALLOWED,
        ProblemCode.STORE_UNAVAILABLE,
        ProblemCode.INTERNAL_ERROR,
        ProblemCode.ORDER_BUSY,
        ProblemCode.WIND_DOWN_NOT_STARTED,
    }
)
"""No such act, or one that may have been done, or was in part."""


class Refusals:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ACTING:
            await self._app(scope, receive, send)
            return

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                _note(Request(scope), message["status"])
            await send(message)

        await self._app(scope, receive, send_noted)


def _note(request: Request, status: int) -> None:
    route, code = request.scope.get("route"), getattr(request.state, "problem_code", None)
    if route is None or code is None or code in _NO_REFUSALS:
        return
    session: Session | None = getattr(request.state, "session", None)
    request.app.state.refused_requests.add(
        RefusedRequest(
            f"{request.method} {route.path_format}",
            status,
            code,
            origin(request),
            session.user_id if session else 0,
            session.client_id if session else STRANGER,
            getattr(request.state, "claimed", None),
        )
    )
