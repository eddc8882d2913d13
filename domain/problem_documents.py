"""Problem documents (RFC 9457): what each of our HTTP servers says when it does not do what it was asked.

Invariant: every answer of 400 and above is one, whoever gives it: a route of the API or the stream, or the
server below both, to bytes that never became a request (workers/http_protocol.py).
"""

from enum import StrEnum
from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"
EVERY_ANSWER = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""No answer is taken for another type than it says, or kept: each is of one client and one moment."""


class ProblemCode(StrEnum):
    """What HTTP itself can go wrong with; what an order is refused for is a RejectCode."""

    NOT_FOUND = "NOT_FOUND"
    """No such path."""
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    METHOD_NOT_IMPLEMENTED = "METHOD_NOT_IMPLEMENTED"
    """No method that any path has."""
    BAD_REQUEST = "BAD_REQUEST"
    HEAD_TOO_LARGE = "HEAD_TOO_LARGE"
    """Request line and headers together."""
    LENGTH_REQUIRED = "LENGTH_REQUIRED"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BODY_NOT_JSON = "BODY_NOT_JSON"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    """The request did not come to its end in time; nothing was done."""
    FIELD_INVALID = "FIELD_INVALID"
    """A field, path or query parameter of the wrong shape, or one that does not exist."""
    TOKEN_MISSING = "TOKEN_MISSING"
    TOKEN_REFUSED = "TOKEN_REFUSED"
    CREDENTIALS_WRONG = "CREDENTIALS_WRONG"
    ORDER_UNKNOWN = "ORDER_UNKNOWN"
    ORDER_BUSY = "ORDER_BUSY"
    """The order's workflow does not answer yet; ask again."""
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    """For changes of one order in a second; Retry-After says when to ask again."""
    TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
    """From one address: 429; in all: 503."""
    ROLE_REQUIRED = "ROLE_REQUIRED"
    SUBJECT_UNKNOWN = "SUBJECT_UNKNOWN"
    """Nothing of that scope has this id."""
    SECOND_PERSON_REQUIRED = "SECOND_PERSON_REQUIRED"
    """A market-wide or segment stop is released by two of the risk desk; this one has asked already."""
    HALT_STANDS = "HALT_STANDS"
    """A halt of all or a segment is not turned into less by one person: it is released, and stopped anew."""
    WIND_DOWN_NOT_STARTED = "WIND_DOWN_NOT_STARTED"
    """The freeze stands; cancelling and closing was not set in motion."""
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The outcome is unknown: repeat with the same idempotency key."""
    INTERNAL_ERROR = "INTERNAL_ERROR"
    """A bug of ours, logged under the trace id; the outcome is unknown."""


def problem_document(
    status: HTTPStatus,
    code: str,
    detail: str,
    trace_id: str,
    *,
    title: str | None = None,
    retryable: bool = False,
    **members: object,
) -> dict[str, object]:
    """The body; `members` are those that only some problems have."""
    return {
        "type": f"urn:hundi:problem:{code.lower().replace('_', '-')}",
        "title": title or status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
        "retryable": retryable,
        "trace_id": trace_id,
        **members,
    }
