"""The messages that a client may send, decoded strictly, and the exception that refuses one.

The same members on Socket.IO (the event's argument) and on plain WebSocket (the frame beside `action` and
`id`); unknown members are ignored. Used by realtime/stream/gateway.py; described in docs/asyncapi.yaml.
"""

from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from bus.stream_frames import MessageAnswer
from realtime.stream.quotes import Mode

INSTRUMENTS_MAX = 3000
"""The limit of one connection's subscriptions, and of one message."""
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Instruments = Annotated[list[str], msgspec.Meta(max_length=INSTRUMENTS_MAX)]
M = TypeVar("M", bound=msgspec.Struct)


class MessageRefused(Exception):
    """A message that is refused; `code` is stable, `detail` is one sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail

    @property
    def answer(self) -> MessageAnswer:
        return MessageAnswer(ok=False, code=self.code, detail=self.detail)


class Action(StrEnum):
    """The name of a message: the event on Socket.IO, the member `action` on plain WebSocket."""

    AUTH = "auth"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SUBSCRIBE_PORTFOLIO = "subscribe_portfolio"
    UNSUBSCRIBE_PORTFOLIO = "unsubscribe_portfolio"
    RESUME = "resume"


class Auth(msgspec.Struct, frozen=True):
    """Sign in: the first frame on plain WebSocket, the `auth` of the connection on Socket.IO."""

    token: Annotated[str, msgspec.Meta(max_length=4096)]
    after_seq: Seq | None = None
    """Resume the order updates after this one; without it they begin now."""


class Resume(msgspec.Struct, frozen=True):
    """Get the order updates after a cursor again, then go on live."""

    after_seq: Seq


class Subscribe(msgspec.Struct, frozen=True):
    """Get the ticks of instruments, or change their mode."""

    instruments: Instruments
    mode: Mode = Mode.QUOTE


class Unsubscribe(msgspec.Struct, frozen=True):
    """Get no more ticks of instruments."""

    instruments: Instruments


class SubscribePortfolio(msgspec.Struct, frozen=True):
    """Get the portfolio now and after every change, and the prices of its instruments."""


class UnsubscribePortfolio(msgspec.Struct, frozen=True):
    """Get no more portfolios."""


MESSAGES: dict[Action, type[msgspec.Struct]] = {
    Action.AUTH: Auth,
    Action.SUBSCRIBE: Subscribe,
    Action.UNSUBSCRIBE: Unsubscribe,
    Action.SUBSCRIBE_PORTFOLIO: SubscribePortfolio,
    Action.UNSUBSCRIBE_PORTFOLIO: UnsubscribePortfolio,
    Action.RESUME: Resume,
}


def read(kind: type[M], message: object) -> M:
    """Decode a client's message. Raises MessageRefused."""
    try:
        return msgspec.convert(message, kind)
    except msgspec.ValidationError as error:
        raise MessageRefused("MESSAGE_INVALID", str(error)[:200]) from None
