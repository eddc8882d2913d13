"""Which other origins' pages may use the API in a browser: exactly those of the settings, by default none.

No cookies and no credentials of the browser's: a page brings its bearer token itself.
"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "POST", "PUT", "DELETE")
SENT = ("Authorization", "Content-Type", "X-Device-Fingerprint", "Traceparent")
SHOWN = ("X-Trace-Id", "Retry-After", "Idempotent-Replayed")


class CrossOrigin(CORSMiddleware):
    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app, allow_origins=origins, allow_methods=METHODS, allow_headers=SENT, expose_headers=SHOWN
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A browser that may not is answered as where nobody may: with the application's problem document."""
        if self._is_refused_preflight(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _is_refused_preflight(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            return False
        asked = Headers(scope=scope)
        if "origin" not in asked or "access-control-request-method" not in asked:
            return False
        return self.preflight_response(asked).status_code != HTTPStatus.OK
