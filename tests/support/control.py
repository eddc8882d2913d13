"""The simulated exchange's control socket, as its operator uses it."""

import socket
from typing import Any

import msgspec

from config.settings import Settings


def ask(settings: Settings, exchange: str, **command: Any) -> dict[str, Any]:
    """The answer to one command, once it has been journaled."""
    path = settings.data_dir / f"simulator-{exchange}" / "control.sock"
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(str(path))
        control.sendall(msgspec.json.encode(command) + b"\n")
        answer: dict[str, Any] = msgspec.json.decode(control.makefile("rb").readline())
        return answer
