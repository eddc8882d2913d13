"""Problem documents (RFC 9457): every error of the API has a stable code and says what to do about it.

Invariant: whatever goes wrong, the answer is one of these, also for a path that is not there and for a bug of
ours; a bug is logged with the trace id that the client is told. Routes document theirs with `documented`.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.exceptions import HTTPException

from api.tracing import EVERY_ANSWER
from domain.rejects import HTTP_STATUS, RETRYABLE, SENTENCES, Refusal, RejectCode

MEDIA_TYPE = "application/problem+json"
FAILURES_MAX = 20
"""Told of one request: whoever sends a thousand wrong members need not hear of each."""
log = structlog.get_logger()


class ProblemCode(StrEnum):
    """What HTTP itself can go wrong with; what an order is refused for is a RejectCode."""

    NOT_FOUND = "NOT_FOUND"
    """No such path."""
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    BAD_REQUEST = "BAD_REQUEST"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BODY_NOT_JSON = "BODY_NOT_JSON"
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

    async def _store_away(request: Request, error: Exception) -> JSONResponse:
        log.error("store_unavailable", error=str(error))
        detail = "The books cannot be reached; the outcome is unknown: repeat with the same idempotency key."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return _document(request, Problem(status, ProblemCode.STORE_UNAVAILABLE, detail, retryable=True))

    for unavailable in (OperationalError, PoolTimeout):
        app.exception_handler(unavailable)(_store_away)


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
    body = {
        "type": f"urn:hundi:problem:{code.lower().replace('_', '-')}",
        "title": next((text for key, text in SENTENCES.items() if key == code), problem.status.phrase),
        "status": problem.status.value,
        "code": code,
        "detail": problem.detail,
        "retryable": problem.retryable,
        "trace_id": _trace_id(request),
        **problem.members,
    }
    sign_in = {"WWW-Authenticate": "Bearer"} if problem.status is HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(body, problem.status.value, problem.headers | sign_in, MEDIA_TYPE)
