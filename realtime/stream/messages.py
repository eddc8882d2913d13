"""What a client may say, decoded strictly, and how it is told that it may not.

The same shapes on Socket.IO (the event's argument) and plain WebSocket (the frame's members); unknown members
are ignored. Used by realtime/stream/gateway.py.
"""

from typing import Annotated, Any, TypeVar

import msgspec

from realtime.stream.quotes import Mode

INSTRUMENTS_MAX = 3000
"""Of one connection, and of one message."""
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
M = TypeVar("M", bound=msgspec.Struct)


class MessageRefused(Exception):
    """A message that is not followed; `code` is stable, `detail` one sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail

    @property
    def answer(self) -> dict[str, Any]:
        return {"ok": False, "code": self.code, "detail": self.detail}


class Auth(msgspec.Struct, frozen=True):
    """The `auth` of a connection."""

    token: Annotated[str, msgspec.Meta(max_length=4096)]
    after_seq: Seq | None = None
    """Resume the order updates after this one; without it they begin now."""


class Resume(msgspec.Struct, frozen=True):
    after_seq: Seq


class Subscribe(msgspec.Struct, frozen=True):
    instruments: Annotated[list[str], msgspec.Meta(max_length=INSTRUMENTS_MAX)]
    mode: Mode = Mode.QUOTE


class Unsubscribe(msgspec.Struct, frozen=True):
    instruments: Annotated[list[str], msgspec.Meta(max_length=INSTRUMENTS_MAX)]


def read(kind: type[M], said: object) -> M:
    """Raises Refused."""
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise MessageRefused("MESSAGE_INVALID", str(error)[:200]) from None
