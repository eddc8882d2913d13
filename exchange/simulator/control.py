"""The simulator's control socket: JSON lines on a Unix socket, one answer a command.

`$HUNDI_DATA_DIR/simulator-<EXCHANGE>/control.sock`, readable by its owner alone. Commands carry `verb`:
`flow` (symbol, events), `end_flow` (symbol), `prices` (rows of [symbol, paise, quantity]), `phase` (phase,
session_class or all), `day` (phase_seconds), `halt` (seconds, auction_seconds), `flex` (symbol, side), `bust`
(exec_id), `correct` (exec_id, quantity, price in paise).
The answer is {"counts": {...}} after the command has been journaled, or {"error": "..."}.
"""

import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import msgspec

from domain.orders import Side
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from exchange.simulator.flow import FlowEvent


class FlowCommand(msgspec.Struct, tag_field="verb", tag="flow", frozen=True):
    symbol: str
    events: list[FlowEvent]


class EndFlowCommand(msgspec.Struct, tag_field="verb", tag="end_flow", frozen=True):
    symbol: str


class PricesCommand(msgspec.Struct, tag_field="verb", tag="prices", frozen=True):
    """Rows of (symbol, price in paise, traded quantity), in order."""

    rows: list[tuple[str, int, int]]


class PhaseCommand(msgspec.Struct, tag_field="verb", tag="phase", frozen=True):
    """Enter a phase now, a halt for instance; without a class, the whole market does."""

    phase: MarketPhase
    session_class: SessionClass | None = None


class DayCommand(msgspec.Struct, tag_field="verb", tag="day", frozen=True):
    """Play the next trading day, each of its stretches in `phase_seconds`."""

    phase_seconds: Annotated[float, msgspec.Meta(ge=0.2, le=3600)]


class HaltCommand(msgspec.Struct, tag_field="verb", tag="halt", frozen=True):
    """Stop every class that trades, and reopen it by an auction, as after a market-wide circuit breaker."""

    seconds: Annotated[float, msgspec.Meta(ge=0.2, le=24 * 3600)]
    auction_seconds: Annotated[float, msgspec.Meta(ge=0.2, le=3600)] = 900


class FlexCommand(msgspec.Struct, tag_field="verb", tag="flex", frozen=True):
    """Move a symbol's band towards a side now, as after its cooling time."""

    symbol: str
    side: Side


class BustCommand(msgspec.Struct, tag_field="verb", tag="bust", frozen=True):
    exec_id: str


class CorrectCommand(msgspec.Struct, tag_field="verb", tag="correct", frozen=True):
    exec_id: str
    quantity: int
    price: int


Command = (
    FlowCommand
    | EndFlowCommand
    | PricesCommand
    | PhaseCommand
    | DayCommand
    | HaltCommand
    | FlexCommand
    | BustCommand
    | CorrectCommand
)
Answer = dict[str, int] | str
"""Counts, or why not."""


class ControlRefused(Exception):
    """A command that cannot be: its sentence is the answer."""


class Controlled:
    """A command on its way through the matching thread; `answer` is set when it is done."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.answer: SimpleQueue[Answer] = SimpleQueue()


def serve(path: Path, take: Callable[[Controlled], None]) -> None:
    """Take commands on a thread of their own until the process ends."""
    decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    controlled = Controlled(decoder.decode(line))
                except msgspec.MsgspecError as error:
                    self.wfile.write(msgspec.json.encode({"error": str(error)}) + b"\n")
                    continue
                take(controlled)
                answer = controlled.answer.get()
                key = "error" if isinstance(answer, str) else "counts"
                self.wfile.write(msgspec.json.encode({key: answer}) + b"\n")

    path.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(path), Lines)
    path.chmod(0o600)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()


def ask(data_dir: Path, exchange: str, **command: Any) -> dict[str, Any]:
    """One command to a running exchange, and its answer. Raises OSError when none runs there."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(10)
        asking.connect(str(data_dir / f"simulator-{exchange}" / "control.sock"))
        asking.sendall(msgspec.json.encode(command) + b"\n")
        answer: dict[str, Any] = msgspec.json.decode(asking.makefile("rb").readline())
        return answer
