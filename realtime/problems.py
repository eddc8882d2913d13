"""Problem documents (RFC 9457) of the stream's HTTP answers, as the API has them."""

from http import HTTPStatus

from starlette.responses import JSONResponse

from realtime.handshake import RETRY_SECONDS


def document(status: HTTPStatus, detail: str, code: str | None = None) -> JSONResponse:
    """`code` is the status's name unless there is a better one."""
    told = code or status.name
    is_retryable = status is HTTPStatus.TOO_MANY_REQUESTS
    body = {
        "type": f"urn:hundi:problem:{told.lower().replace('_', '-')}",
        "title": status.phrase,
        "status": status.value,
        "code": told,
        "detail": detail,
        "retryable": is_retryable,
    }
    headers = {"Retry-After": str(RETRY_SECONDS)} if is_retryable else None
    return JSONResponse(body, status.value, headers, media_type="application/problem+json")
