"""What a client sends, cut anywhere, is the messages it meant, or ends its connection with the right code."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode

from realtime.websocket.frames import (
    FRAMES_MAX,
    FrameError,
    Reader,
    close_frame,
    ends_with_close,
    pong_frame,
    text_frame,
)

SIZE_MAX = 1000


def sent(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return bytes(Frame(opcode, data, fin).serialize(mask=True))


def read(reader: Reader, data: bytes) -> Iterator[str | bytes | Frame]:
    """Messages, and control frames as they are."""
    reader.feed(data)
    while (frame := reader.frame()) is not None:
        if frame.opcode in CTRL_OPCODES:
            yield frame
        elif (message := reader.message(frame)) is not None:
            yield message


@given(st.lists(st.text(max_size=150)), st.integers(1, 40), st.data())
def test_messages_come_whole_however_they_are_cut_and_fragmented(
    messages: list[str], step: int, data: st.DataObject
) -> None:
    wire = b""
    for message in messages:
        body = message.encode()
        cut = data.draw(st.integers(0, len(body)))
        wire += sent(Opcode.TEXT, body[:cut], fin=False)
        wire += sent(Opcode.PING, b"between")
        wire += sent(Opcode.CONT, body[cut:])
    reader = Reader(SIZE_MAX)
    told = [said for at in range(0, len(wire), step) for said in read(reader, wire[at : at + step])]
    assert [said for said in told if isinstance(said, str)] == messages
    assert [bytes(said.data) for said in told if isinstance(said, Frame)] == [b"between"] * len(messages)


def test_bytes_stay_bytes() -> None:
    assert list(read(Reader(SIZE_MAX), sent(Opcode.BINARY, b"\xff\x00"))) == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (text_frame(b"not masked"), CloseCode.PROTOCOL_ERROR),
        (b"\xc1\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR),
        (b"\x83\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR),
        (sent(Opcode.CONT, b"of nothing"), CloseCode.PROTOCOL_ERROR),
        (sent(Opcode.TEXT, b"a", fin=False) + sent(Opcode.TEXT, b"b"), CloseCode.PROTOCOL_ERROR),
        (b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), CloseCode.PROTOCOL_ERROR),
        (sent(Opcode.TEXT, b"\xff"), CloseCode.INVALID_DATA),
        (sent(Opcode.TEXT, b"x" * (SIZE_MAX + 1)), CloseCode.MESSAGE_TOO_BIG),
        (b"\x81\xff" + b"\x7f" + b"\xff" * 7, CloseCode.MESSAGE_TOO_BIG),
        (
            sent(Opcode.TEXT, b"x" * SIZE_MAX, fin=False) + sent(Opcode.CONT, b"x"),
            CloseCode.MESSAGE_TOO_BIG,
        ),
        (
            sent(Opcode.TEXT, b"", fin=False) + sent(Opcode.CONT, b"", fin=False) * FRAMES_MAX,
            CloseCode.POLICY_VIOLATION,
        ),
    ],
    # Of their own: a client masks by chance, and processes that share the tests must agree on their names.
    ids=[
        "not masked",
        "reserved bit",
        "unknown opcode",
        "continues nothing",
        "begins amid another",
        "long ping",
        "not UTF-8",
        "too long",
        "says that it is too long",
        "too long together",
        "too many frames",
    ],
)
def test_what_is_no_message_ends_the_connection_with_its_code(wire: bytes, code: CloseCode) -> None:
    with pytest.raises(FrameError) as refused:
        list(read(Reader(SIZE_MAX), wire))
    assert refused.value.code is code


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_a_frame_says_its_length(length: int) -> None:
    frame = text_frame(b"x" * length)
    assert frame == Frame(Opcode.TEXT, b"x" * length).serialize(mask=False)


def test_control_frames() -> None:
    assert pong_frame(b"1") == b"\x8a\x011"
    assert close_frame(CloseCode.POLICY_VIOLATION, "why") == b"\x88\x05\x03\xf0why"


def test_a_message_may_come_in_as_many_frames_as_there_are_at_most() -> None:
    parts = sent(Opcode.TEXT, b"a", fin=False) + sent(Opcode.CONT, b"b", fin=False) * (FRAMES_MAX - 2)
    assert list(read(Reader(SIZE_MAX), parts + sent(Opcode.CONT, b"c"))) == [f"a{'b' * (FRAMES_MAX - 2)}c"]


@pytest.mark.parametrize("length", [0, 2, 125])
def test_a_close_at_the_end_is_seen_without_parsing_what_is_before_it(length: int) -> None:
    close = sent(Opcode.CLOSE, b"\x03\xe8" + b"x" * (length - 2) if length else b"")
    for before in (b"", b"x", sent(Opcode.TEXT, b"said before")):
        assert ends_with_close(before + close)
        assert not ends_with_close(close[:-1])
    assert not ends_with_close(sent(Opcode.TEXT, b"x" * 130))
