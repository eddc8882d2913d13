"""Problem documents (RFC 9457) of the stream's HTTP answers, as the API has them."""

import secrets
from http import HTTPStatus

from starlette.responses import JSONResponse

from domain.problem_documents import EVERY_ANSWER, MEDIA_TYPE, problem_document
from realtime.websocket.handshake import RETRY_SECONDS


def document(status: HTTPStatus, detail: str, code: str | None = None) -> JSONResponse:
    """Return a problem document as a response; without a `code` it has the status's name."""
    trace_id = secrets.token_hex(16)
    headers = {"X-Trace-Id": trace_id, **EVERY_ANSWER}
    is_retryable = status is HTTPStatus.TOO_MANY_REQUESTS
    if is_retryable:
        headers["Retry-After"] = str(RETRY_SECONDS)
    body = problem_document(status, code or status.name, detail, trace_id, retryable=is_retryable)
    return JSONResponse(body, status.value, headers, MEDIA_TYPE)
