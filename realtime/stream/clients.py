"""A client: one connection of one signed-in user, whichever protocol it speaks.

Invariant: order updates go to the wire in ascending seq, all of them after the client's cursor and none
before, or the connection ends; while a replay reads what was missed, live updates wait behind it. Made by
realtime/stream/gateway.py.
"""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from bus.stream_frames import ClosingFrame, GapFrame, encode
from config.tokens import Session
from realtime.stream.quotes import Mode
from realtime.websocket.token_bucket import TokenBucket

T = TypeVar("T")
UNITS_A_SECOND, UNITS_AT_ONCE = 20, 200
"""Units of work that a client may request: one a message, one more for every hundred instruments in it."""


class Closing(StrEnum):
    """Why the server ends a connection."""

    SESSION_EXPIRED = "SESSION_EXPIRED"
    TOO_SLOW = "TOO_SLOW"
    CURSOR_AHEAD = "CURSOR_AHEAD"

    @property
    def body(self) -> bytes:
        """The `closing` frame, the last one of a connection."""
        return encode(ClosingFrame(code=self, detail=_DETAILS[self]))


_DETAILS = {
    Closing.SESSION_EXPIRED: "The session has expired; sign in again.",
    Closing.TOO_SLOW: "The client does not read what it is sent; connect again and resume.",
    Closing.CURSOR_AHEAD: "There is no such order update; read the orders and connect without after_seq.",
}


class Wire(Protocol):
    """The way to a client. `body` is the JSON of the frame (bus/stream_frames.py), the same on every wire."""

    def send(self, event: str, body: bytes) -> None:
        """Deliver it, in order."""

    def push(self, event: str, body: bytes) -> None:
        """Deliver it at once; it may overtake and be overtaken."""

    def push_list(self, event: str, elements: bytes) -> None:
        """Deliver a list in the same way; `elements` are JSON objects joined by commas."""

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the client that ticks should not be added."""

    def close(self, closing: Closing) -> None:
        """Send the reason and end the connection."""


class Client:
    def __init__(self, session: Session, wire: Wire) -> None:
        self.session, self.wire = session, wire
        self.held: dict[int, bytes] | None = None
        """Live updates that wait behind a replay."""
        self.cursor = 0
        """The last update that the client was sent, or has according to itself."""
        self.replaying = asyncio.Lock()
        self.was_slowed_down = False
        self.pace = TokenBucket(UNITS_A_SECOND, UNITS_AT_ONCE)
        self.modes: dict[int, Mode] = {}
        """The client's subscriptions, by slot of the tick table."""
        self.turn = -1
        """The turn of the tick table in which it gets ticks; -1 before its first subscription."""
        self.elements: list[bytes] = []
        """Ticks that were pushed and are not in a frame yet."""
        self.behind_since: float | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        """Work for the client that is under way; the first task attaches it to its user's updates."""
        self._expiry: asyncio.TimerHandle | None = None

    def update(self, seq: int, frame: bytes) -> None:
        """Send the user's next order update, or hold it behind a replay."""
        if self.held is not None:
            self.held[seq] = frame
        elif seq > self.cursor:
            self.cursor = seq
            self.wire.send("order_update", frame)

    def gap(self, from_seq: int, to_seq: int) -> None:
        """Announce updates that will not come, both ends included; a replay finds them by itself."""
        if self.held is None and to_seq > self.cursor:
            frame = GapFrame(from_seq=max(from_seq, self.cursor + 1), to_seq=to_seq)
            self.wire.send("gap", encode(frame))
            self.cursor = to_seq

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run a task that is cancelled when the client leaves."""
        task = asyncio.create_task(work)
        self._tasks = [*self._tasks[:1], *(t for t in self._tasks[1:] if not t.done()), task]
        return task

    async def joined(self) -> None:
        """Wait until the client is attached to its user's updates."""
        await asyncio.wait({self._tasks[0]})

    def expire(self, seconds: float) -> None:
        """End the connection when the session ends."""
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(seconds, self.wire.close, Closing.SESSION_EXPIRED)

    def end(self) -> None:
        """Cancel the client's tasks: the connection is gone."""
        for task in self._tasks:
            task.cancel()
        # A cancelled task keeps its frames and through them the client.
        self._tasks.clear()
        if self._expiry is not None:
            self._expiry.cancel()
