"""WebSocket frames (RFC 6455, section 5): what is sent is built here, what comes is parsed by `websockets`.

Invariant: no compression is negotiated and what is sent is never fragmented, so that a frame built once can
be shared between connections. Used by realtime/websocket/connection.py and the fronts.
"""

import struct
from collections.abc import Generator
from typing import cast

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.streams import StreamReader

PING = b"\x89\x00"
FRAMES_MAX = 100
"""That one message may come in."""
CONTROL_BYTES_MAX, _MASKED_HEAD = 125, 6
"""A control frame's payload, and the head of a client's."""


class FrameError(Exception):
    """The connection cannot go on; `code` and `reason` tell the client why."""

    def __init__(self, code: CloseCode, reason: str = "") -> None:
        super().__init__(reason or code.name)
        self.code, self.reason = code, reason


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text message."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


def close_frame(code: CloseCode, reason: str = "") -> bytes:
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping."""
    return Frame(Opcode.PONG, payload).serialize(mask=False)


def ends_with_close(data: bytes) -> bool:
    """Whether the last frame of what a client said is a close, by its looks: nothing is parsed.

    Whose connection has been closed says nothing after its own close (section 5.5.1).
    """
    tail = data[-(CONTROL_BYTES_MAX + _MASKED_HEAD) :]
    heads = range(len(tail) - _MASKED_HEAD, -1, -1)
    return any(tail[at] == 0x88 and tail[at + 1] == 0x80 | length for length, at in enumerate(heads))


class Reader:
    """A client's bytes as frames, its data frames as messages; it holds memory for what is incomplete alone.

    A message is text or bytes of at most `size_max` bytes in at most FRAMES_MAX frames; what a frame costs
    does not depend on those before it.
    """

    __slots__ = ("_kind", "_parser", "_parts", "_size", "_size_max", "_stream")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._stream: StreamReader | None = None
        """While something is not parsed."""
        self._parser: Generator[None, None, Frame] | None = None
        """While a frame is incomplete."""
        self._parts: list[bytes] | None = None
        """While a message is incomplete, with its kind and the size it has come to."""
        self._kind, self._size = Opcode.TEXT, 0

    def feed(self, data: bytes) -> None:
        """What has come; nothing of it is parsed before it is asked for."""
        if self._stream is None:
            self._stream = StreamReader()
        self._stream.feed_data(data)

    def frame(self) -> Frame | None:
        """The next whole frame, None for not yet. Raises FrameError."""
        if self._stream is None:
            return None
        if self._parser is None:
            self._parser = Frame.parse(self._stream.read_exact, mask=True, max_size=self._size_max)
        try:
            next(self._parser)
        except StopIteration as whole:
            self._parser = None
            if not self._stream.buffer:
                self._stream = None
            return cast(Frame, whole.value)
        except ProtocolError:
            raise FrameError(CloseCode.PROTOCOL_ERROR) from None
        except PayloadTooBig:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG) from None
        return None

    def message(self, frame: Frame) -> str | bytes | None:
        """The message that a data frame ends, if it does. Raises FrameError."""
        if (frame.opcode is Opcode.CONT) is (self._parts is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR)
        if self._parts is None:
            if frame.fin:
                return _decoded(frame.opcode, frame.data)
            self._parts, self._kind, self._size = [], frame.opcode, 0
        self._size += len(frame.data)
        if self._size > self._size_max:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG)
        if len(self._parts) == FRAMES_MAX:
            raise FrameError(CloseCode.POLICY_VIOLATION, "TOO_MANY_FRAMES")
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return None
        parts, self._parts = self._parts, None
        return _decoded(self._kind, b"".join(parts))

    def clear(self) -> None:
        """Forget what is incomplete."""
        self._stream = self._parser = self._parts = None


def _decoded(kind: Opcode, payload: bytes | bytearray | memoryview) -> str | bytes:
    if kind is Opcode.BINARY:
        return bytes(payload)
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        raise FrameError(CloseCode.INVALID_DATA) from None
