"""The request's trace context: FastAPI opens the span, this hands it to whoever journals an order.

`request.state.traceparent` continues the client's trace or begins a new one; its id is in every answer, as
`X-Trace-Id` and in problem documents, beside the headers that no answer goes without. Plain ASGI: a wrapper
that buffers responses would cost more than the whole acknowledgement.
"""

import secrets

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.problem_documents import EVERY_ANSWER
from telemetry.spans import traceparent_of

# One span a request, not one for each dependency and serialisation: the order's own stages follow it.
FASTAPI_TELEMETRY: TelemetryConfig = {"operation_spans": False, "logs": False}


_EVERY_ANSWER = [(name.lower().encode(), value.encode()) for name, value in EVERY_ANSWER.items()]


class Tracing:
    """Sets `request.state.traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        span = trace.get_current_span()
        if scope["query_string"] and span.is_recording():
            # FastAPI would put it on the span, and so in the logs: people put tokens and passwords there.
            span.set_attribute("url.query", "REDACTED")
        # Where no provider is started, the context is our own and nothing is recorded.
        known = span.get_span_context().is_valid
        traceparent = traceparent_of(span) if known else _minted()
        scope.setdefault("state", {})["traceparent"] = traceparent
        header = b"x-trace-id", traceparent.split("-")[1].encode()

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_EVERY_ANSWER, header]
            await send(message)

        await self._app(scope, receive, send_traced)


def _minted() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
