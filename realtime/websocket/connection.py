"""A WebSocket connection that costs little while it is idle: no task, no queue, no timer, no headers kept.

uvicorn listens and serves HTTP, and hands whoever asks for a WebSocket to a Line, as to any WebSocket
protocol of its own. The front of the path answers the handshake; what the client says is taken a frame a turn
of the loop, at a measured pace, and followed in order by the front's receiver; after a close, nothing is. A
client that does not read is cut off, whatever it is sent. Source: RFC 6455.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from uvicorn.server import ServerState
from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode

from realtime.websocket.connections import Receiver, WebSocketConnections
from realtime.websocket.frames import FrameError, Reader, close_frame, ends_with_close, pong_frame
from realtime.websocket.handshake import Handshake
from realtime.websocket.token_bucket import TokenBucket

BEHIND_BYTES = 64 * 1024
"""Written and not taken before a client counts as behind."""
WAITING_BYTES_MAX = 1024 * 1024
"""The same before it counts as stalled."""
MESSAGE_BYTES_MAX = 64 * 1024
"""Of one message from a client; 3,000 instrument ids fit."""
FRAMES_A_SECOND, FRAMES_AT_ONCE = 50, 200
"""Of one client, of every kind; FRAME_BYTES of payload count as one more."""
FRAME_BYTES = 4 * 1024
GOODBYE_SECONDS = 2
"""How long a client may take to answer a close."""
log = structlog.get_logger()


class WebSocketConnection(asyncio.Protocol):
    """uvicorn makes one for each connection, with the first argument bound: `partial(Line, lines)`."""

    __slots__ = (
        "_connections",
        "_ended",
        "_following",
        "_handshake",
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
        lines: WebSocketConnections,
        *,
        server_state: ServerState,
        ended: Callable[[], None] = lambda: None,
        **_uvicorn: Any,
    ) -> None:
        self._lines, self._ended = lines, ended
        self._connections: set[Any] = server_state.connections
        self._handshake: Handshake | None = None  # until it is answered
        self._receiver: Receiver | None = None
        self._reader = Reader(MESSAGE_BYTES_MAX)
        self._pace = TokenBucket(FRAMES_A_SECOND, FRAMES_AT_ONCE)
        self._following: asyncio.Task[None] | None = None
        self._was_heard = True
        self.is_open = False  # frames may be written
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
        if not self.is_open:
            if ends_with_close(data):
                self._transport.close()
            return
        self._reader.feed(data)
        if self._following is None and (frame := self._parsed()) is not None:
            self._transport.pause_reading()
            self._following = self._lines.begin(self._follow(self._receiver, frame))

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
    def peer(self) -> tuple[str, int]:
        """Its address and port; empty for one that is gone."""
        found = self._transport.get_extra_info("peername") or ("", 0)
        return found[0], found[1]

    @property
    def is_stalled(self) -> bool:
        """More waits for the client than for one that reads."""
        return self._transport.get_write_buffer_size() > WAITING_BYTES_MAX

    @property
    def forwarded_for(self) -> list[str]:
        """As the request says, until it is answered."""
        return self._handshake.forwarded_for if self._handshake is not None else []

    def accept(self, receiver: Receiver) -> None:
        """Answer the handshake; the receiver has the line, and is told when that is no use already."""
        answer, is_open = self._answered().accept()
        self._transport.write(answer)
        if is_open and not self._transport.is_closing():
            self._receiver, self.is_open = receiver, True
            self._lines.add(self)
        else:
            self._transport.close()
            self._lines.begin(receiver.gone())

    def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer the handshake with no WebSocket."""
        self._transport.write(self._answered().refuse(status, detail))
        self._transport.close()

    def write(self, frame: bytes) -> None:
        """A finished frame; dropped when the connection is closing. Who leaves too much unread is cut off."""
        if not self.is_open:
            return
        if self.is_behind and self.is_stalled:
            log.info("connection_ended", reason="TOO_SLOW", peer=self.peer)
            self.abort()
        else:
            self._transport.write(frame)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Say goodbye and hear nothing more; the client has a moment to answer."""
        if self.is_open:
            self._transport.write(close_frame(code, reason))
            self.is_open = False
            self._reader.clear()
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
            log.info("connection_ended", reason="SILENT", peer=self.peer)
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
        try:
            if self._handshake is not None:
                raise ValueError("a second request")
            self._handshake = Handshake(data)
        except ValueError:
            self._transport.abort()
        else:
            self._lines.begin(self._answer(self._handshake))

    async def _answer(self, handshake: Handshake) -> None:
        try:
            await self._lines.asked(self, handshake.path, handshake.query)
        except Exception as error:
            log.warning("request_not_understood", peer=self.peer, error=repr(error)[:200])
        if self._handshake is not None:
            self.refuse(HTTPStatus.BAD_REQUEST, "The request was not understood.")

    def _answered(self) -> Handshake:
        assert self._handshake is not None
        handshake, self._handshake = self._handshake, None
        return handshake

    def _control(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            # One that asks and does not read could fill the memory with answers.
            if not self.is_behind:
                self.write(pong_frame(bytes(frame.data)))
        elif frame.opcode is Opcode.CLOSE:
            self.close(CloseCode.NORMAL_CLOSURE)
            self._transport.close()

    def _parsed(self) -> Frame | None:
        """The next whole frame, if it has come and is one."""
        try:
            return self._reader.frame()
        except FrameError as error:
            self.close(error.code, error.reason)
            return None

    async def _follow(self, receiver: Receiver, first: Frame) -> None:
        """All that has come, beginning with the first: while that takes turns and waits, no more is read."""
        frame: Frame | None = first
        try:
            while frame is not None:
                if not await self._pace.keep(1 + len(frame.data) / FRAME_BYTES):
                    await asyncio.sleep(0)
                if not self.is_open:
                    break
                if frame.opcode in CTRL_OPCODES:
                    self._control(frame)
                elif (message := self._reader.message(frame)) is not None:
                    await receiver.follow(message)
                frame = self._parsed()
        except FrameError as error:
            self.close(error.code, error.reason)
        except Exception as error:
            log.warning("message_not_understood", peer=self.peer, error=repr(error)[:200])
            self.close(CloseCode.POLICY_VIOLATION)
        finally:
            self._following = None
            if not self._transport.is_closing():
                self._transport.resume_reading()
