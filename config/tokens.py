"""Session tokens: issued by the API, verified by the API and the stream (RFC 8725: one pinned algorithm).

A token names the user and the role, and ends with the trading session; it carries no personal data.
"""

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import jwt

from config.settings import Settings

ALGORITHM = "HS256"
ISSUER = "hundi"
AUDIENCE = "hundi-api"


class Role(StrEnum):
    """What a session may ask for."""

    CLIENT = "CLIENT"
    RISK = "RISK"
    SUPPORT = "SUPPORT"
    COMPLIANCE = "COMPLIANCE"


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks."""

    user_id: int
    client_id: str
    role: str
    expires_at: int
    """Seconds since the epoch."""


class TokenRefused(Exception):
    """`str(error)` says why, in one sentence."""


def issue(settings: Settings, user_id: int, client_id: str, role: str, now: int) -> tuple[str, Session]:
    """A token and the session it stands for; `now` in seconds."""
    session = Session(user_id, client_id, role, now + settings.session_hours * 3600)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "client_id": client_id,
        "role": role,
        "iat": now,
        "exp": session.expires_at,
    }
    return jwt.encode(claims, settings.jwt_key, ALGORITHM), session


def verify(settings: Settings, token: str) -> Session:
    """The session of a token. Raises TokenRefused for anything but our own, unexpired one."""
    session = _verified(token, settings.jwt_key)
    if time.time() >= session.expires_at:
        raise TokenRefused("The session has expired; sign in again.")
    return session


# A signature stays right: a client's next request costs a look-up, only its expiry is asked again.
@lru_cache(maxsize=100_000)
def _verified(token: str, key: str) -> Session:
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
        return Session(int(claims["sub"]), claims["client_id"], claims["role"], claims["exp"])
    except jwt.ExpiredSignatureError:
        raise TokenRefused("The session has expired; sign in again.") from None
    except (jwt.InvalidTokenError, KeyError, ValueError):
        raise TokenRefused("The token is not valid.") from None
