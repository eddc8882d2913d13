"""Every request is a span and has a W3C trace context, the client's continued or a new one.

Plain ASGI: a wrapper that buffers responses would cost more than the whole acknowledgement. The trace id is
in every answer (`X-Trace-Id`), and travels with an order through the journals as its `traceparent`.
"""

import re
import secrets
from http import HTTPStatus

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.spans import context_of, traceparent_of

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_tracer = trace.get_tracer("hundi.api")


class Tracing:
    """Sets `request.state.traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = _told(scope)
        parent = context_of(told) if told else None
        with _tracer.start_as_current_span(scope["method"], parent, SpanKind.SERVER) as span:
            traceparent = traceparent_of(span) if span.get_span_context().is_valid else told or _minted()
            scope.setdefault("state", {})["traceparent"] = traceparent
            trace_id = traceparent.split("-")[1].encode()

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-trace-id", trace_id)]
                    if span.is_recording():
                        span.set_attribute("http.response.status_code", HTTPStatus(message["status"]).value)
                await send(message)

            await self._app(scope, receive, send_traced)
            # The route, not the path: ids in names would make every order a name of its own.
            if span.is_recording() and "route" in scope:
                span.update_name(f"{scope['method']} {scope['route'].path}")


def _told(scope: Scope) -> str | None:
    """The client's trace context, None when it sends none that is well formed."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text = value.decode("latin-1")
            return text if _TRACEPARENT.fullmatch(text) else None
    return None


def _minted() -> str:
    """A context of our own where no provider is started."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
