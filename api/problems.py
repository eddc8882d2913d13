"""Problem documents (RFC 9457): every error of the API has a stable code and says what to do about it.

Invariant: whatever goes wrong, the answer is one of these, also for a path that is not there and for a bug of
ours; a bug is logged with the trace id that the client is told. Routes document theirs with `documented`.
"""

from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from domain.problem_documents import EVERY_ANSWER, MEDIA_TYPE, problem_document
from domain.problem_documents import ProblemCode as ProblemCode
from domain.rejects import HTTP_STATUS, RETRYABLE, SENTENCES, Refusal, RejectCode
from storage.database import StoreUnavailable

FAILURES_MAX = 20
"""Told of one request: whoever sends a thousand wrong members need not hear of each."""
log = structlog.get_logger()


_Code = Annotated[str, WithJsonSchema({"type": "string", "enum": [*ProblemCode, *RejectCode]})]


class Failure(BaseModel):
    """One thing that is wrong with a request."""

    code: _Code
    field: str | None = None
    limit: str | None = None
    nearest: str | None = Field(None, description="the nearest legal value")
    detail: str | None = None


class ProblemDocument(BaseModel):
    """Any answer of 400 and above."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    code: _Code
    detail: str
    retryable: bool = Field(description="the same request may succeed later without a change")
    trace_id: str = Field(pattern="^[0-9a-f]{32}$")
    field: str | None = None
    limit: str | None = None
    nearest: str | None = None
    failures: list[Failure] | None = Field(
        None, description=f"what is wrong, by precedence, at most {FAILURES_MAX} of a body's faults"
    )
    order_id: str | None = Field(None, description="the order that the idempotency key belongs to")


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: these statuses are problem documents."""
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {
        status.value: {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


class Problem(Exception):
    """An answer that is not the one asked for."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        retry_after: int | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
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
        answer = _document(request, Problem(status, ProblemCode[status.name], str(error.detail)))
        answer.headers.update({**(error.headers or {}), **_allowed(request, status)})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _document(request, invalid(error.errors()))

    @app.exception_handler(ClientDisconnect)
    async def _left(request: Request, _left: ClientDisconnect) -> JSONResponse:
        # Gone in the middle of its own request: nobody reads this, and it is no fault of ours to log.
        detail = "The request ended before its body did."
        return _document(request, Problem(HTTPStatus.BAD_REQUEST, ProblemCode.BAD_REQUEST, detail))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        trace_id = _trace_id(request)
        log.error("unforeseen_error", trace_id=trace_id, path=request.url.path, exc_info=error)
        detail = "This is a fault of ours; tell support the trace id."
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        answer = _document(request, Problem(status, ProblemCode.INTERNAL_ERROR, detail))
        # Told outside the middleware that tells it of every other answer.
        answer.headers.update({"X-Trace-Id": trace_id, **EVERY_ANSWER})
        return answer

    @app.exception_handler(StoreUnavailable)
    async def _store_away(request: Request, error: Exception) -> JSONResponse:
        log.error("store_unavailable", error=str(error))
        detail = "The books cannot be reached; the outcome is unknown: repeat with the same idempotency key."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return _document(request, Problem(status, ProblemCode.STORE_UNAVAILABLE, detail, retryable=True))


def invalid(errors: Any) -> Problem:
    """Render pydantic's errors: the first names the field, FAILURES_MAX are told."""
    failures = [
        {
            "code": ProblemCode.FIELD_INVALID,
            "field": _field(error["loc"]),
            "detail": str(error["msg"])[:200],
        }
        for error in errors[:FAILURES_MAX]
    ]
    first = failures[0]
    detail = f"{first['field']}: {first['detail']}"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, ProblemCode.FIELD_INVALID, detail, field=first["field"], failures=failures)


def _field(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location if part not in ("body", "query", "path"))[:80] or "body"


def _allowed(request: Request, status: HTTPStatus) -> dict[str, str]:
    """Every method of the path, as RFC 9110 wants it (the router tells those of one route alone)."""
    route = request.scope.get("route")
    if status is not HTTPStatus.METHOD_NOT_ALLOWED or route is None:
        return {}
    operations = request.app.openapi()["paths"].get(route.path_format, {})
    return {"Allow": ", ".join(method.upper() for method in operations)} if operations else {}


def _trace_id(request: Request) -> str:
    return str(request.state.traceparent).split("-")[1]


def _document(request: Request, problem: Problem) -> JSONResponse:
    code = str(problem.code)
    request.state.problem_code = code
    body = problem_document(
        problem.status,
        code,
        problem.detail,
        _trace_id(request),
        title=next((text for key, text in SENTENCES.items() if key == code), None),
        retryable=problem.retryable,
        **problem.members,
    )
    sign_in = {"WWW-Authenticate": "Bearer"} if problem.status is HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(body, problem.status.value, problem.headers | sign_in, MEDIA_TYPE)
