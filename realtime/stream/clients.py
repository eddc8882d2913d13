"""A client: one connection of one signed-in user, whichever protocol it speaks.

Invariant: order updates go to the wire in ascending seq, all of them after the client's cursor and none
before, or the connection ends; while a replay reads what was missed, live updates wait behind it. Made by
realtime/stream/gateway.py.
"""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from config.tokens import Session
from realtime.stream.quotes import Mode
from realtime.websocket.token_bucket import TokenBucket

T = TypeVar("T")
UNITS_A_SECOND, UNITS_AT_ONCE = 20, 200
"""Of work that a client may ask for: one a message, and one more for every hundred instruments in it."""
encode = msgspec.json.Encoder().encode


class Closing(StrEnum):
    """Why the server ends a connection."""

    SESSION_EXPIRED = "SESSION_EXPIRED"
    TOO_SLOW = "TOO_SLOW"
    CURSOR_AHEAD = "CURSOR_AHEAD"

    @property
    def body(self) -> bytes:
        """The `closing` event, the last one of a connection."""
        return encode({"type": "closing", "code": self, "detail": _DETAILS[self]})


_DETAILS = {
    Closing.SESSION_EXPIRED: "The session has expired; sign in again.",
    Closing.TOO_SLOW: "The client does not read what it is sent; connect again and resume.",
    Closing.CURSOR_AHEAD: "There is no such order update; read the orders and connect without after_seq.",
}


class Wire(Protocol):
    """How a client is reached. `body` is the JSON of the event, the same on every wire."""

    def send(self, event: str, body: bytes) -> None:
        """Kept and in order."""

    def push(self, event: str, body: bytes) -> None:
        """At once; may overtake and be overtaken."""

    def push_list(self, event: str, elements: bytes) -> None:
        """The same for a list; `elements` are JSON objects joined by commas."""

    @property
    def is_behind(self) -> bool:
        """So much waits for the client that ticks should not be added."""

    def close(self, closing: Closing) -> None:
        """Tell the reason and end the connection."""


class Client:
    def __init__(self, session: Session, wire: Wire) -> None:
        self.session, self.wire = session, wire
        self.held: dict[int, bytes] | None = None
        """Live updates that wait behind a replay."""
        self.cursor = 0
        """The last update that it was sent, or said to have."""
        self.replaying = asyncio.Lock()
        self.was_slowed_down = False
        self.pace = TokenBucket(UNITS_A_SECOND, UNITS_AT_ONCE)
        self.modes: dict[int, Mode] = {}
        """What it is subscribed to, by slot of the tick table."""
        self.turn = -1
        """Which of the tick table's turns it is told in; -1 before it has subscribed to anything."""
        self.elements: list[bytes] = []
        """Of the push that is being made."""
        self.behind_since: float | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        """What is being done for the client; the first is its joining."""
        self._expiry: asyncio.TimerHandle | None = None

    def update(self, seq: int, frame: bytes) -> None:
        """The user's next order update."""
        if self.held is not None:
            self.held[seq] = frame
        elif seq > self.cursor:
            self.cursor = seq
            self.wire.send("order_update", frame)

    def gap(self, from_seq: int, to_seq: int) -> None:
        """Updates that will not come, both ends included; a replay finds out by itself."""
        if self.held is None and to_seq > self.cursor:
            self.tell("gap", from_seq=max(from_seq, self.cursor + 1), to_seq=to_seq)
            self.cursor = to_seq

    def tell(self, event: str, **members: Any) -> None:
        self.wire.send(event, encode({"type": event, **members}))

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do it for as long as the client is there."""
        task = asyncio.create_task(work)
        self._tasks = [*self._tasks[:1], *(t for t in self._tasks[1:] if not t.done()), task]
        return task

    async def joined(self) -> None:
        """Until the client is attached to its user's updates."""
        await asyncio.wait({self._tasks[0]})

    def expire(self, seconds: float) -> None:
        """End the connection when the session ends."""
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(seconds, self.wire.close, Closing.SESSION_EXPIRED)

    def end(self) -> None:
        """The connection is gone."""
        for task in self._tasks:
            task.cancel()
        # A task that was cancelled knows where it was, and so the client.
        self._tasks.clear()
        if self._expiry is not None:
            self._expiry.cancel()
