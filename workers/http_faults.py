"""What can be wrong with bytes that are to be a request, and how the server answers: a problem document each.

For those that never reach the application (workers/http_protocol.py); its own answers are its own.
"""

import secrets
from collections.abc import Iterable
from http import HTTPStatus

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from domain.problem_documents import EVERY_ANSWER, MEDIA_TYPE, ProblemCode, problem_document

RETRY_SECONDS = 1
_HEADERS = b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in EVERY_ANSWER.items())


class Fault(Exception):
    """One thing that ends a connection, as the client is told of it."""

    def __init__(
        self, status: HTTPStatus, code: ProblemCode, detail: str, *, retryable: bool = False
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retryable = status, code, detail, retryable

    def answer(self, dated: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, str]:
        """The whole response, with these headers too, and its trace id."""
        trace_id = secrets.token_hex(16)
        document = problem_document(self.status, self.code, self.detail, trace_id, retryable=self.retryable)
        body = msgspec.json.encode(document)
        retry = f"retry-after: {RETRY_SECONDS}\r\n" if self.code is ProblemCode.TOO_MANY_CONNECTIONS else ""
        own = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-trace-id: {trace_id}\r\n{retry}connection: close\r\n"
        )
        more = b"".join(b"%b: %b\r\n" % header for header in dated)
        return b"".join((STATUS_LINE[self.status], more, own.encode(), _HEADERS, b"\r\n", body)), trace_id


def unreadable(error: Exception) -> Fault:
    """What the parser could not make a request of."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        status = HTTPStatus.NOT_IMPLEMENTED
        return Fault(status, ProblemCode.METHOD_NOT_IMPLEMENTED, "No path has this method.")
    return Fault(HTTPStatus.BAD_REQUEST, ProblemCode.BAD_REQUEST, "The request is not HTTP/1.1.")


def _too_many(status: HTTPStatus, detail: str) -> Fault:
    return Fault(status, ProblemCode.TOO_MANY_CONNECTIONS, detail, retryable=True)


SERVER_FULL = _too_many(HTTPStatus.SERVICE_UNAVAILABLE, "The server has all the connections it takes.")
ADDRESS_FULL = _too_many(HTTPStatus.TOO_MANY_REQUESTS, "Your address has all the connections it may have.")
PIPELINE_FULL = _too_many(HTTPStatus.TOO_MANY_REQUESTS, "Wait for answers before you ask on.")
BUSY_UPGRADE = Fault(
    HTTPStatus.BAD_REQUEST, ProblemCode.BAD_REQUEST, "Ask for a WebSocket on a connection of its own."
)
HEAD_TOO_LARGE = Fault(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ProblemCode.HEAD_TOO_LARGE,
    "Request line and headers are too large.",
)
BODY_TOO_LARGE = Fault(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ProblemCode.BODY_TOO_LARGE, "The body is too large."
)
LATE = Fault(
    HTTPStatus.REQUEST_TIMEOUT,
    ProblemCode.REQUEST_TIMEOUT,
    "The request did not come to its end in time.",
    retryable=True,
)
OUR_FAULT = Fault(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    ProblemCode.INTERNAL_ERROR,
    "This is a fault of ours; tell support the trace id.",
)
