"""Recorded market history: read, moved to where the instruments stand today, played or checked.

A file that is not what it should be is refused with a StackError that names it. Called by `hundi replay` and
`hundi demo`.
"""

import csv
import gzip
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.control import Control
from domain.instruments import Instrument
from domain.money import paise
from domain.time import NANOS
from exchange.files.master import read_master
from exchange.simulator.history import Comparison, Message, RecordedBook, compare, read_depths, read_messages
from stack.errors import StackError

FLOW_BATCH_NS = NANOS // 20
"""Recorded time that travels in one command."""
TICK_COLUMNS = ("timestamp_ist", "symbol", "ltp", "cum_volume")
EXCHANGES = ("NSE", "BSE")


def play_flow(file: Path, instrument: str, speed: float) -> None:
    """Feed a file of LOBSTER messages into the instrument's book."""
    exchange, _, symbol = instrument.partition(":")
    if symbol not in _master(exchange):
        raise StackError(f"{instrument[:40]} is not in the instrument master")
    messages = read_flow(file)
    first = messages[0].price
    counts: dict[str, int] = {}
    with Control(exchange) as control, Progress() as progress:
        task = progress.add_task(f"order flow to {instrument}", total=len(messages))
        try:
            for batch in paced(messages, speed):
                counts = control.flow(symbol, batch, first)
                progress.advance(task, len(batch))
        finally:
            control.ask(verb="end_flow", symbol=symbol)
    _print_counts(f"{len(messages):,} recorded events at {instrument}", Counter(counts))


def play_ticks(file: Path, exchange: str, speed: float) -> None:
    """Publish a file of ticks on the exchange's feed."""
    day = RecordedDay(_master(exchange))
    with _of(file):
        _check_columns(file)
    with _of(file), Control(exchange) as control, Progress() as progress:
        task = progress.add_task(f"ticks of {exchange}", total=None)
        begun, opened = time.monotonic(), None
        for second, rows in groupby(_tick_rows(file), key=lambda row: row["timestamp_ist"]):
            at = _seconds(second)
            opened = at if opened is None else opened
            _wait_until(begun + (at - opened) / speed)
            prices = [moved for row in rows if (moved := day.move(row))]
            if prices:
                control.ask(verb="prices", rows=prices)
            progress.update(task, advance=len(prices), description=f"ticks of {exchange} {second}")
    _print_counts("recorded ticks", day.outcomes)


def verified(directory: Path | None) -> bool:
    """Whether the books of a recorded hour come out as recorded; prints what was compared."""
    folder = directory or Path(os.environ.get("HUNDI_MARKET_DATA", "../shared/data")) / "orderflow"
    found = [
        next(iter(folder.glob(f"*{name}*.csv.gz")), None)
        for name in ("message_50", "message_10", "orderbook_10")
    ]
    if None in found:
        raise StackError(f"{folder} lacks one of the message_50, message_10 and orderbook_10 files")
    wide, narrow, depths = (path for path in found if path)
    messages, recorded = read_flow(wide), RecordedBook()
    begun = time.perf_counter()
    for message in messages:
        recorded.apply(message)
    seconds = time.perf_counter() - begun
    counts = Counter(
        {
            f"{outcome.kind.name.lower()}, {'known' if outcome.known else 'placed before the record'}": count
            for outcome, count in recorded.outcomes.items()
        }
    )
    _print_counts(f"{len(messages):,} events in {seconds:.2f} s", counts)
    with _of(depths):
        result = compare(messages, read_flow(narrow), read_depths(depths))
    _print_comparison(result, len(recorded.book.orders))
    return result.exact == result.rows


def read_flow(file: Path) -> list[Message]:
    """The messages of a file; at least one."""
    with _of(file):
        messages = list(read_messages(file))
    if not messages:
        raise StackError(f"{file} has no recorded event")
    return messages


class RecordedDay:
    """Moves a recorded day's prices to where the instruments stand today, in proportion and on tick."""

    def __init__(self, master: dict[str, Instrument]) -> None:
        self._master = master
        self._first: dict[str, int] = {}
        self._volume: dict[str, int] = {}
        self.outcomes: Counter[str] = Counter()

    def move(self, row: dict[str, str]) -> tuple[str, int, int] | None:
        """(symbol, price in paise, traded quantity), None when it has no place here."""
        instrument = self._master.get(row["symbol"])
        if instrument is None or not instrument.tradable:
            self.outcomes["no such tradable instrument"] += 1
            return None
        price, volume = paise(row["ltp"]), int(row["cum_volume"])
        first = self._first.setdefault(instrument.symbol, price)
        traded = max(0, volume - self._volume.get(instrument.symbol, volume))
        self._volume[instrument.symbol] = volume
        tick = instrument.tick_size
        moved = (instrument.previous_close * price // first + tick // 2) // tick * tick
        if not instrument.lower_band <= moved <= instrument.upper_band:
            self.outcomes["out of band"] += 1
            return None
        self.outcomes["published"] += 1
        return instrument.symbol, moved, traded


def paced(messages: list[Message], speed: float) -> Iterator[list[Message]]:
    """Batches of recorded time, each at its moment."""
    begun, first = time.monotonic(), messages[0].time_ns
    for slot, batch in groupby(messages, key=lambda message: (message.time_ns - first) // FLOW_BATCH_NS):
        _wait_until(begun + slot * FLOW_BATCH_NS / NANOS / speed)
        yield list(batch)


@contextmanager
def _of(file: Path) -> Iterator[None]:
    """Whatever is wrong with the file is said of the file."""
    try:
        file.open("rb").close()
        yield
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StackError(
            f"{file} cannot be replayed: {why.splitlines()[0] if why else 'it is cut off'}"
        ) from None


def _master(exchange: str) -> dict[str, Instrument]:
    if exchange not in EXCHANGES:
        raise StackError(f"{exchange[:10]!r} is none of the exchanges {', '.join(EXCHANGES)}")
    return read_master(exchange)


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _tick_rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines)


def _check_columns(file: Path) -> None:
    with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as lines:
        found = next(csv.reader(lines), [])
    if missing := [column for column in TICK_COLUMNS if column not in found]:
        raise ValueError(f"it has no column {missing[0]}")


def _seconds(timestamp: str) -> int:
    hours, minutes, seconds = timestamp.split(" ")[1].split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + int(seconds)


def _print_comparison(result: Comparison, resting: int) -> None:
    console = Console()
    console.print(f"{resting:,} orders rest at the end")
    console.print(f"{result.exact} of {result.rows} recorded ten-level books exact")
    console.print(f"{result.unknown_levels} of {result.levels} levels held orders from before the record")


def _print_counts(title: str, counts: Counter[str]) -> None:
    table = Table("outcome", "events", title=title)
    for outcome, count in sorted(counts.items()):
        table.add_row(outcome, f"{count:,}")
    table.add_row("total", f"{counts.total():,}", style="bold")
    Console().print(table)
