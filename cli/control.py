"""The command line's way to a running simulator: its control socket (exchange/simulator/control.py)."""

import socket
from typing import Any

import msgspec

from config.settings import settings
from exchange.simulator.history import Message
from stack.errors import StackError


class Control:
    """A connection to the simulator's control socket; one command at a time."""

    def __init__(self, exchange: str) -> None:
        self._path = settings().data_dir / f"simulator-{exchange}" / "control.sock"

    def __enter__(self) -> "Control":
        """Raises StackError when no simulator listens there."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            self._socket.close()
            raise StackError(
                f"no exchange answers at {self._path} ({error.strerror or error}): is `hundi up` running?"
            ) from None
        self._lines = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def flow(self, symbol: str, messages: list[Message], first_price: int) -> dict[str, int]:
        """Let recorded messages happen in the symbol's book; prices count from the flow's first one."""
        events = [(m.kind, m.order_id, m.size, m.price - first_price, m.side) for m in messages]
        return self.ask(verb="flow", symbol=symbol, events=events)

    def ask(self, **command: Any) -> dict[str, int]:
        """Counts of what has come of the symbol's flow so far. Raises StackError when refused."""
        try:
            self._socket.sendall(msgspec.json.encode(command) + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise StackError(f"the exchange hung up: {error.strerror or error}") from None
        answer: dict[str, Any] = msgspec.json.decode(line or b'{"error": "the exchange hung up"}')
        if "error" in answer:
            raise StackError(f"the exchange refused {command['verb']}: {answer['error']}")
        return dict(answer["counts"])
