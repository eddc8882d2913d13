"""A WebSocket connection that costs little while it is idle: no task, no queue, no timer, no headers kept.

uvicorn listens and serves HTTP, and hands whoever asks for a WebSocket to a Line, as to any WebSocket
protocol of its own. The front of the path answers the handshake; what the client says is followed in order,
one message after the other and at a measured pace, by the front's receiver. Source: RFC 6455.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Protocol, cast

import structlog
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime.frames import FrameError, Reader, close_frame, pong_frame
from realtime.pace import Pace

BEHIND_BYTES = 64 * 1024
"""Written and not taken before a client counts as behind."""
WAITING_BYTES_MAX = 1024 * 1024
"""The same before it counts as stalled."""
MESSAGE_BYTES_MAX = 64 * 1024
"""Of one message from a client; 3,000 instrument ids fit."""
MESSAGES_A_SECOND, MESSAGES_AT_ONCE = 50, 200
PULSE_SECONDS = 15
"""Between two pings; a client that was silent from one to the next is gone."""
GOODBYE_SECONDS = 10
"""How long a client may take to answer a close."""
log = structlog.get_logger()


class Receiver(Protocol):
    """What a front has of one line."""

    @property
    def ping(self) -> bytes:
        """A frame that the client answers."""

    async def follow(self, message: str | bytes) -> None:
        """Do what the client says; the next message waits. What this raises ends the connection."""

    async def gone(self) -> None:
        """The connection has ended, whoever ended it."""


class Lines:
    """What lines share: who answers for them, the tasks of those that come and go, and one pulse for all.

    `asked(line, path, query)` is called for whoever wants a WebSocket, and accepts or refuses the line. `run`
    must be under way.
    """

    def __init__(self, asked: Callable[["Line", str, str], Coroutine[Any, Any, None]]) -> None:
        self.asked = asked
        self._tasks: set[asyncio.Task[None]] = set()
        self.due: deque[tuple[float, Line]] = deque()
        """When each is pinged next, the soonest first."""

    def begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def add(self, line: "Line") -> None:
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


class Line(asyncio.Protocol):
    """uvicorn makes one for each connection, with the first argument bound: `partial(Line, lines)`."""

    __slots__ = (
        "_connections",
        "_ended",
        "_following",
        "_handshake",
        "_inbox",
        "_lines",
        "_pace",
        "_reader",
        "_receiver",
        "_transport",
        "_was_heard",
        "is_behind",
        "is_open",
    )

    def __init__(
        self,
        lines: Lines,
        *,
        server_state: ServerState,
        ended: Callable[[], None] = lambda: None,
        **_uvicorn: Any,
    ) -> None:
        self._lines, self._ended = lines, ended
        self._connections: set[Any] = server_state.connections
        self._handshake: tuple[ServerProtocol, Request] | None = None
        """Until it is answered."""
        self._receiver: Receiver | None = None
        self._reader = Reader(MESSAGE_BYTES_MAX)
        self._pace = Pace(MESSAGES_A_SECOND, MESSAGES_AT_ONCE)
        self._inbox: list[str | bytes] = []
        self._following: asyncio.Task[None] | None = None
        self._was_heard = True
        self.is_open = False
        """Frames may be written."""
        self.is_behind = False
        """So much waits for the client that ticks should not be added."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._transport.set_write_buffer_limits(high=BEHIND_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # What a client does not take waits here, where it is seen, and not in the kernel.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BEHIND_BYTES)

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        if self._receiver is None:
            self._asked(data)
            return
        try:
            for said in self._reader.read(data):
                if isinstance(said, Frame):
                    self._control(said)
                elif self.is_open:
                    self._inbox.append(said)
        except FrameError as error:
            self.close(error.code)
        if self._inbox:
            self._transport.pause_reading()
            if self._following is None:
                self._following = self._lines.begin(self._follow(self._receiver))

    def pause_writing(self) -> None:
        self.is_behind = True

    def resume_writing(self) -> None:
        self.is_behind = False

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_open = False
        self._connections.discard(self)
        self._ended()
        if self._following is not None:
            self._following.cancel()
        # The receiver knows the line, too: without the cycle the collector has nothing to do.
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._lines.begin(receiver.gone())

    def shutdown(self) -> None:
        """The process stops: uvicorn asks every connection to end."""
        self._transport.write(close_frame(CloseCode.SERVICE_RESTART))
        self.is_open = False
        self._transport.close()

    @property
    def peer(self) -> str:
        return str(self._transport.get_extra_info("peername"))

    @property
    def is_stalled(self) -> bool:
        """More waits for the client than for one that reads."""
        return self._transport.get_write_buffer_size() > WAITING_BYTES_MAX

    def accept(self, receiver: Receiver) -> None:
        """Answer the handshake; the receiver has the line, and is told when that is no use already."""
        assert self._handshake is not None
        (protocol, request), self._handshake = self._handshake, None
        response = protocol.accept(request)
        self._transport.write(response.serialize())
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not self._transport.is_closing():
            self._receiver, self.is_open = receiver, True
            self._lines.add(self)
        else:
            self._transport.close()
            self._lines.begin(receiver.gone())

    def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer the handshake with no WebSocket."""
        assert self._handshake is not None
        (protocol, _), self._handshake = self._handshake, None
        self._transport.write(protocol.reject(status, detail).serialize())
        self._transport.close()

    def write(self, frame: bytes) -> None:
        """A finished frame; dropped when the connection is closing."""
        if self.is_open:
            self._transport.write(frame)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye; the client has a moment to answer."""
        if self.is_open:
            self.write(close_frame(code, reason))
            self.is_open = False
            self._transport.resume_reading()
            asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """End it without waiting for a client that takes nothing, and drop what waits for it."""
        self.is_open = False
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def beat(self) -> bool:
        """Ask for a sign of life; False, and the line is ended, when none came since the last time."""
        if not self.is_open or self._receiver is None:
            return False
        if not self._was_heard and self._following is None:
            log.info("connection ended", reason="SILENT", peer=self.peer)
            self.abort()
            return False
        self._was_heard = False
        self.write(self._receiver.ping)
        return True

    @property
    def _socket(self) -> socket.socket:
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    def _asked(self, data: bytes) -> None:
        """uvicorn gives the whole request at once; whatever a client says before it is let in is not kept."""
        protocol = ServerProtocol()
        protocol.receive_data(data)
        request = next(iter(protocol.events_received()), None)
        if self._handshake is not None or not isinstance(request, Request):
            self._transport.abort()
            return
        self._handshake = protocol, request
        self._lines.begin(self._answer(*request.path.partition("?")[::2]))

    async def _answer(self, path: str, query: str) -> None:
        try:
            await self._lines.asked(self, path, query)
        except Exception as error:
            log.warning("request not understood", peer=self.peer, error=repr(error)[:200])
        if self._handshake is not None:
            self.refuse(HTTPStatus.BAD_REQUEST, "The request was not understood.")

    def _control(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            # One that asks and does not read could fill the memory with answers.
            if not self.is_behind:
                self.write(pong_frame(bytes(frame.data)))
        elif frame.opcode is Opcode.CLOSE:
            self.write(close_frame(CloseCode.NORMAL_CLOSURE))
            self.is_open = False
            self._transport.close()

    async def _follow(self, receiver: Receiver) -> None:
        try:
            while self._inbox and self.is_open:
                await self._pace.keep()
                await receiver.follow(self._inbox.pop(0))
        except Exception as error:
            log.warning("message not understood", peer=self.peer, error=repr(error)[:200])
            self.close(CloseCode.POLICY_VIOLATION)
        finally:
            self._inbox.clear()
            self._following = None
            if not self._transport.is_closing():
                self._transport.resume_reading()
