"""Frames that a client got, held strictly against their types (bus/stream_frames.py)."""

from typing import Any

import msgspec

from bus.stream_frames import FRAMES, MessageAnswer

TYPES = {str(frame.__struct_config__.tag): frame for frame in FRAMES}


def fault(event: str, body: Any) -> str | None:
    """Why this is no frame of the event, None when it is one; Socket.IO has a list alone."""
    frame = {"type": event, event: body} if isinstance(body, list) else body
    return _misfit(frame, TYPES[event]) if event in TYPES else f"{event} is no event of the stream"


def answer_fault(answer: Any) -> str | None:
    """Why this is no acknowledgement of Socket.IO, None when it is one."""
    return _misfit(answer, MessageAnswer)


def _misfit(value: Any, kind: type[msgspec.Struct]) -> str | None:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.ValidationError as error:
        return f"{error}: {value}"
    return None
