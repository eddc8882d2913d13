"""Request bodies, read so that no price ever passes through a float and no size surprises us.

A member that is there twice is refused: JSON readers differ in which one they take.
"""

import json
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.problems import Problem, ProblemCode, invalid

BODY_BYTES_MAX = 16_384
Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body as `model`. Raises Problem: too large, not JSON, or not of this shape."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            detail = f"The body is larger than {BODY_BYTES_MAX} bytes."
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ProblemCode.BODY_TOO_LARGE, detail)
    try:
        # A decimal stays the text it was; NaN and Infinity are not JSON.
        decoded = json.loads(
            raw, parse_float=str, parse_constant=_not_json, object_pairs_hook=_each_member_once
        )
    except _Repeated as repeated:
        raise invalid([{"loc": (repeated.name,), "msg": "is there more than once"}]) from None
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, ProblemCode.BODY_NOT_JSON, "The body is not JSON.") from None
    try:
        return model.model_validate(decoded)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None


class _Repeated(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


def _each_member_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _Repeated(name)
        members[name] = value
    return members


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)
