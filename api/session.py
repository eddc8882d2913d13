"""Signing in, and who asks: a bearer token on every route but the open ones."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import APIRouter, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from api.body import read_body
from api.openapi import described
from api.origin import origin
from api.problems import Problem, ProblemCode, documented
from api.requests import SignIn
from api.responses import Token
from config.tokens import Role, Session, TokenRefused, issue, verify
from domain.events import RecordEvent
from domain.time import NANOS, rfc3339
from storage import audit
from storage.audit import AuditEntry
from storage.users import find_user

router = APIRouter(prefix="/api/v1", tags=["session"])
_hasher = PasswordHasher()
# Verified when there is no such client, so that the time of an answer tells nobody which clients exist.
_NOBODY = _hasher.hash("nobody")


_WHOSE = {
    Role.CLIENT: "Only clients have orders and portfolios.",
    Role.RISK: "Only the risk desk may ask this.",
}


class _Bearer(HTTPBearer):
    """The session of the request: 401 without a valid token, 403 for a role that the route does not name.

    One dependency: it is asked on the hot path.
    """

    async def __call__(self, request: Request, allowed: SecurityScopes) -> Session:  # type: ignore[override]
        credentials = await super().__call__(request)
        if credentials is None:
            detail = "This needs a bearer token; sign in first."
            raise Problem(HTTPStatus.UNAUTHORIZED, ProblemCode.TOKEN_MISSING, detail)
        try:
            session = verify(request.app.state.settings, credentials.credentials)
        except TokenRefused as refusal:
            raise Problem(HTTPStatus.UNAUTHORIZED, ProblemCode.TOKEN_REFUSED, str(refusal)) from None
        # Whose refusal it is, if it is refused after all (api/refusals.py).
        request.state.session = session
        if session.role not in allowed.scopes:
            detail = _WHOSE[Role(allowed.scopes[0])]
            raise Problem(HTTPStatus.FORBIDDEN, ProblemCode.ROLE_REQUIRED, detail)
        return session


_bearer = _Bearer(
    scheme_name="HTTPBearer",
    auto_error=False,
    description="The access_token of POST /api/v1/session; a route lists the roles it is for",
)
# The roles of a route are those of its OpenAPI security requirement, which is made of these.
ClientSession = Annotated[Session, Security(_bearer, scopes=[Role.CLIENT.value])]
RiskDesk = Annotated[Session, Security(_bearer, scopes=[Role.RISK.value])]


@router.post(
    "/session",
    openapi_extra=described(SignIn),
    responses=documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def sign_in(request: Request) -> Token:
    """A bearer token for the trading day; none that is not on record."""
    asked = await read_body(request, SignIn)
    request.state.claimed = asked.client_id
    user = await find_user(request.app.state.database, asked.client_id)
    password_hash = user.password_hash if user else _NOBODY
    right = await asyncio.to_thread(_matches, password_hash, asked.password)
    if user is None or not right:
        detail = "Client id or password is wrong."
        raise Problem(HTTPStatus.UNAUTHORIZED, ProblemCode.CREDENTIALS_WRONG, detail)
    now_ns = time.time_ns()
    who = (user.user_id, user.client_id, user.role)
    token, session = issue(request.app.state.settings, *who, now_ns // NANOS)
    entry = AuditEntry(
        now_ns, user.user_id, RecordEvent.SIGNED_IN, user.client_id, detail={"role": user.role}
    )
    async with request.app.state.database.transaction() as conn:
        await audit.append(conn, [audit.coming_from(origin(request), entry)])
    return Token(access_token=token, expires_at=rfc3339(session.expires_at * NANOS))


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except VerificationError:
        return False
