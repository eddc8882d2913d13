"""The exchange's memory: what was asked and what was answered, fsync'd before anybody hears the answer.

`journal.jsonl` holds one step a line: {"session", "request", "reports": [{"session", ...}], "prices"}, and
now and then {"sent": n}: the reports of the first n steps have been handed to their sessions. A restart
restores the venue from the steps and repeats what lies beyond the mark with PossResend. A torn last line was
never answered and is cut off. `exchange-<EXCHANGE>-trades-<YYYYMMDD>.csv` is the day's trade file; its rows
add up: a bust is its trade with the quantity negated, a correction such a row and a new one.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.reports import BandSet, CancelRejected, ExecutionReport, SessionPhase
from domain.time import trade_date
from exchange.files.trade_file import COLUMNS, trade_file_path
from exchange.simulator.session.bands import Flex
from exchange.simulator.session.timetable import CompressedDay, TimedHalt
from exchange.simulator.venue import Addressed

_WORDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        NewOrder,
        CancelOrder,
        ReplaceOrder,
        StatusRequest,
        CompressedDay,
        TimedHalt,
        Flex,
        ExecutionReport,
        CancelRejected,
        SessionPhase,
        BandSet,
    )
}


class JournalStep(NamedTuple):
    """One request (None: the market moved by itself) and what it caused."""

    session: str
    request: Instruction | CompressedDay | TimedHalt | Flex | None
    told: list[Addressed]
    prices: dict[str, int] = {}  # noqa: RUF012 - never written to
    """Reference and closing prices that were fixed, by symbol."""


class Journal:
    """Append-only; `append` returns once the steps are on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._steps = 0

    def read(self) -> tuple[list[JournalStep], int]:
        """Every complete step and the number of those whose reports were handed over."""
        content = self._path.read_bytes()
        complete = content.rfind(b"\n") + 1
        os.ftruncate(self._fd, complete)
        steps, sent = [], 0
        for line in content[:complete].splitlines():
            row = msgspec.json.decode(line)
            if "sent" in row:
                sent = row["sent"]
            else:
                steps.append(_step(row))
        self._steps = len(steps)
        return steps, sent

    def append(self, steps: list[JournalStep]) -> None:
        os.write(self._fd, b"".join(msgspec.json.encode(_document(step)) + b"\n" for step in steps))
        os.fdatasync(self._fd)
        self._steps += len(steps)

    def mark_sent(self) -> None:
        """All steps so far are handed over. Not synced: a lost mark only repeats reports."""
        os.write(self._fd, msgspec.json.encode({"sent": self._steps}) + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class JournalTrade(NamedTuple):
    """One side of a match, or of one taken back, as the trade file has it; columns are COLUMNS."""

    client_code: str
    report: ExecutionReport
    quantity: int
    """Negative where a trade is taken back."""
    price: int

    def row(self) -> tuple[str, ...]:
        r = self.report
        names = (r.exec_id, r.exchange_order_id, r.cl_ord_id, self.client_code, r.symbol, r.side.value)
        return (*names, str(self.quantity), str(self.price), str(r.transact_time_ns))


class TradeFile:
    """The brokers' trades of each day; a trade is written once, whatever is restarted."""

    def __init__(self, directory: Path, exchange: str) -> None:
        self._directory = directory
        self._exchange = exchange

    def path(self, time_ns: int) -> Path:
        return trade_file_path(self._directory, self._exchange, trade_date(time_ns))

    def append(self, trades: Iterable[JournalTrade]) -> None:
        by_path: dict[Path, list[JournalTrade]] = {}
        for trade in trades:
            by_path.setdefault(self.path(trade.report.transact_time_ns), []).append(trade)
        for path, rows in by_path.items():
            _append_rows(path, rows)

    def complete(self, trades: Iterable[JournalTrade]) -> None:
        """Append what a crash between journal and trade file left out."""
        written: dict[Path, set[tuple[str, ...]]] = {}
        missing = []
        for trade in trades:
            path = self.path(trade.report.transact_time_ns)
            if path not in written:
                written[path] = set(_rows(path))
            if trade.row() not in written[path]:
                missing.append(trade)
        self.append(missing)


def _append_rows(path: Path, trades: list[JournalTrade]) -> None:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    writer.writerows(trade.row() for trade in trades)
    with path.open("ab") as file:
        file.write(text.getvalue().encode())
        file.flush()
        os.fdatasync(file.fileno())


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    """The file's rows; a torn last line is cut off first."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    os.truncate(path, complete)
    yield from map(tuple, csv.reader(StringIO(content[:complete].decode())))


def _document(step: JournalStep) -> dict[str, Any]:
    request = _tagged(step.request) if step.request else None
    reports = [{"session": told.session, **_tagged(told.report)} for told in step.told]
    return {"session": step.session, "request": request, "reports": reports, "prices": step.prices}


def _tagged(value: Any) -> dict[str, Any]:
    return {"word": type(value).__name__, **msgspec.to_builtins(value)}


def _step(row: dict[str, Any]) -> JournalStep:
    request = _untagged(row["request"]) if row["request"] else None
    told = [Addressed(report["session"], _untagged(report)) for report in row["reports"]]
    return JournalStep(row["session"], request, told, row["prices"])


def _untagged(row: dict[str, Any]) -> Any:
    return msgspec.convert(row, _WORDS[row["word"]])
