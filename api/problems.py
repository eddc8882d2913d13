"""Problem documents (RFC 9457): every error of the API has a stable code and says what to do about it."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from domain.rejects import HTTP_STATUS, RETRYABLE, SENTENCES, Refusal

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger()


class Problem(Exception):
    """An answer that is not the one asked for."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, *, retryable: bool = False, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retryable = status, code, detail, retryable
        self.members = {name: value for name, value in members.items() if value is not None}


def refused(refusals: list[Refusal]) -> Problem:
    """The first refusal leads (they come by precedence); all are told."""
    first = refusals[0]
    return Problem(
        HTTP_STATUS[first.code],
        first.code,
        first.sentence,
        retryable=first.code in RETRYABLE,
        field=first.field,
        limit=first.limit,
        nearest=first.nearest,
        failures=[
            {"code": r.code, "field": r.field, "limit": r.limit, "nearest": r.nearest} for r in refusals
        ],
    )


def install(app: FastAPI) -> None:
    """Render every exception as a problem document."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> JSONResponse:
        return _document(request, problem)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        answer = _document(request, Problem(status, status.name, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _document(request, invalid(error.errors()))

    async def _store_away(request: Request, error: Exception) -> JSONResponse:
        log.error("store_unavailable", error=str(error))
        detail = "The books cannot be reached; the outcome is unknown: repeat with the same idempotency key."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return _document(request, Problem(status, "STORE_UNAVAILABLE", detail, retryable=True))

    for unavailable in (OperationalError, PoolTimeout):
        app.exception_handler(unavailable)(_store_away)


def invalid(errors: Any) -> Problem:
    """Of pydantic's errors: the first names the field, all are told."""
    failures = [
        {"code": "FIELD_INVALID", "field": _field(error["loc"]), "detail": str(error["msg"])[:200]}
        for error in errors
    ]
    first = failures[0]
    detail = f"{first['field']}: {first['detail']}"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, "FIELD_INVALID", detail, field=first["field"], failures=failures)


def _field(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("body", "query", "path"))[:80] or "body"


def _document(request: Request, problem: Problem) -> JSONResponse:
    code = str(problem.code)
    body = {
        "type": f"urn:hundi:problem:{code.lower().replace('_', '-')}",
        "title": next((text for key, text in SENTENCES.items() if key == code), problem.status.phrase),
        "status": problem.status.value,
        "code": code,
        "detail": problem.detail,
        "retryable": problem.retryable,
        "trace_id": request.state.traceparent.split("-")[1],
        **problem.members,
    }
    headers = {"WWW-Authenticate": "Bearer"} if problem.status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, problem.status.value, headers, MEDIA_TYPE)
