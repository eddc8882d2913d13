"""What WebSocket connections share: who answers for them, their tasks, and one pulse for all.

Made by realtime/app.py; a line is realtime/websocket/connection.py's.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from realtime.websocket.connection import WebSocketConnection

PULSE_SECONDS = 15
"""Between two pings; a client that was silent from one to the next is gone."""


class Receiver(Protocol):
    """What a front has of one line."""

    @property
    def ping(self) -> bytes:
        """A frame that the client answers."""

    async def follow(self, message: str | bytes) -> None:
        """Do what the client says; the next message waits. What this raises ends the connection."""

    async def gone(self) -> None:
        """The connection has ended, whoever ended it."""


class WebSocketConnections:
    """What lines share: who answers for them, the tasks of those that come and go, and one pulse for all.

    `asked(line, path, query)` is called for whoever wants a WebSocket, and accepts or refuses the line. `run`
    must be under way.
    """

    def __init__(self, asked: Callable[["WebSocketConnection", str, str], Coroutine[Any, Any, None]]) -> None:
        self.asked = asked
        self._tasks: set[asyncio.Task[None]] = set()
        self.due: deque[tuple[float, WebSocketConnection]] = deque()
        """When each is pinged next, the soonest first."""

    def begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def add(self, line: "WebSocketConnection") -> None:
        """To be pinged each PULSE_SECONDS."""
        self.due.append((asyncio.get_running_loop().time() + PULSE_SECONDS, line))

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while self.due and self.due[0][0] <= loop.time():
                _, line = self.due.popleft()
                if line.beat():
                    self.add(line)
            await asyncio.sleep(1)
