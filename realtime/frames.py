"""WebSocket frames (RFC 6455, section 5): what is sent is built here, what comes is parsed by `websockets`.

Invariant: no compression is negotiated and what is sent is never fragmented, so that a frame built once can
be shared between connections. Used by realtime/line.py and the fronts.
"""

import struct
from collections.abc import Generator, Iterator

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.streams import StreamReader

PING = b"\x89\x00"


class FrameError(Exception):
    """The connection cannot go on; `code` tells the client why."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code.name)
        self.code = code


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


class Reader:
    """A client's bytes as messages and control frames; it holds memory only while one is incomplete.

    A message is text or bytes of at most `size_max` bytes, however many frames it comes in.
    """

    __slots__ = ("_fragments", "_partial", "_size_max")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._partial: tuple[StreamReader, Generator[None, None, Frame]] | None = None
        self._fragments: list[Frame] | None = None

    def read(self, data: bytes) -> Iterator[str | bytes | Frame]:
        """Whole messages, and control frames as they are. Raises FrameError."""
        try:
            for frame in self._frames(data):
                if frame.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
                    yield frame
                elif (message := self._joined(frame)) is not None:
                    yield message
        except ProtocolError:
            raise FrameError(CloseCode.PROTOCOL_ERROR) from None
        except PayloadTooBig:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG) from None
        except UnicodeDecodeError:
            raise FrameError(CloseCode.INVALID_DATA) from None

    def _frames(self, data: bytes) -> Iterator[Frame]:
        if self._partial is None:
            stream = StreamReader()
            parser = self._parser(stream)
        else:
            stream, parser = self._partial
        stream.feed_data(data)
        while True:
            try:
                next(parser)
            except StopIteration as whole:
                parser = self._parser(stream)
                yield whole.value
                if not stream.buffer:
                    self._partial = None
                    return
            else:
                self._partial = stream, parser
                return

    def _parser(self, stream: StreamReader) -> Generator[None, None, Frame]:
        return Frame.parse(stream.read_exact, mask=True, max_size=self._size_max)

    def _joined(self, frame: Frame) -> str | bytes | None:
        """The message that a data frame ends, if it does."""
        if (frame.opcode is Opcode.CONT) is (self._fragments is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR)
        parts = [*(self._fragments or ()), frame]
        if sum(len(part.data) for part in parts) > self._size_max:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG)
        if not frame.fin:
            self._fragments = parts
            return None
        self._fragments = None
        whole = b"".join(part.data for part in parts)
        return whole.decode() if parts[0].opcode is Opcode.TEXT else whole
