"""`hundi replay`: real order flow or a real tick day through the running exchange, or checked in process.

Speaks to the simulator by its control socket (exchange/simulator/control.py). Recorded time is kept at
`--speed`; recorded prices are moved into today's bands (flow by ticks, prices in proportion).
"""

import csv
import gzip
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from config.settings import settings
from domain.instruments import Instrument
from domain.money import paise
from domain.time import NANOS
from exchange.master import read_master
from exchange.simulator.history import Message, RecordedBook, compare, read_depths, read_messages

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Real market history, replayed.")
FLOW_BATCH_NS = NANOS // 20
"""Recorded time that travels in one command."""
Speed = Annotated[float, typer.Option(min=0.1, help="Times faster than recorded.")]


def main(arguments: list[str]) -> None:
    """Run one replay command line."""
    app(args=arguments, prog_name="hundi replay")


@app.command()
def orderflow(
    file: Annotated[Path, typer.Argument(exists=True, help="LOBSTER messages, gzipped.")],
    instrument: Annotated[str, typer.Option(help="Where the flow goes, such as NSE:TCS.")] = "NSE:TCS",
    speed: Speed = 10.0,
) -> None:
    """Feed recorded order flow into an instrument's book; resting orders of clients trade with it."""
    exchange, _, symbol = instrument.partition(":")
    if symbol not in read_master(exchange):
        raise typer.BadParameter(f"{instrument[:40]} is not in the instrument master")
    messages = list(read_messages(file))
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


@app.command()
def ticks(
    file: Annotated[Path, typer.Argument(exists=True, help="timestamp_ist,symbol,ltp,cum_volume, gzipped.")],
    speed: Speed = 60.0,
    exchange: str = "NSE",
) -> None:
    """Publish a recorded tick day on the feed; quotes follow one tick around each price."""
    day = RecordedDay(read_master(exchange))
    with Control(exchange) as control, Progress() as progress:
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


@app.command()
def verify(
    directory: Annotated[Path | None, typer.Argument(help="Folder of the LOBSTER files.")] = None,
) -> None:
    """Replay the recorded hour in process: every event accounted for, every recorded book compared."""
    folder = directory or Path(os.environ.get("HUNDI_MARKET_DATA", "../shared/data")) / "orderflow"
    found = [
        next(iter(folder.glob(f"*{name}*.csv.gz")), None)
        for name in ("message_50", "message_10", "orderbook_10")
    ]
    if None in found:
        raise typer.BadParameter(f"{folder} lacks one of the message_50, message_10 and orderbook_10 files")
    wide_file, narrow_file, depth_file = (path for path in found if path)
    messages, recorded = list(read_messages(wide_file)), RecordedBook()
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
    result = compare(messages, read_messages(narrow_file), read_depths(depth_file))
    console = Console()
    console.print(f"{len(recorded.book.orders):,} orders rest at the end")
    console.print(f"{result.exact} of {result.rows} recorded ten-level books exact")
    console.print(f"{result.unknown_levels} of {result.levels} levels held orders from before the record")
    raise typer.Exit(0 if result.exact == result.rows else 1)


class Control:
    """A connection to the simulator's control socket; one command at a time."""

    def __init__(self, exchange: str) -> None:
        self._path = settings().data_dir / f"simulator-{exchange}" / "control.sock"

    def __enter__(self) -> "Control":
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise typer.BadParameter(
                f"no exchange answers at {self._path}: is `hundi up` running?"
            ) from error
        self._lines = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def flow(self, symbol: str, messages: list[Message], first_price: int) -> dict[str, int]:
        """Let recorded messages happen in the symbol's book; prices count from the flow's first one."""
        events = [(m.kind, m.order_id, m.size, m.price - first_price, m.side) for m in messages]
        return self.ask(verb="flow", symbol=symbol, events=events)

    def ask(self, **command: Any) -> dict[str, int]:
        """Counts of what has come of the symbol's flow so far. Raises SystemExit when refused."""
        self._socket.sendall(msgspec.json.encode(command) + b"\n")
        line = self._lines.readline()
        answer: dict[str, Any] = msgspec.json.decode(line or b'{"error": "the exchange hung up"}')
        if "error" in answer:
            raise SystemExit(f"hundi: the exchange refused {command['verb']}: {answer['error']}")
        return dict(answer["counts"])


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


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _tick_rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as rows:
        yield from csv.DictReader(rows)


def _seconds(timestamp: str) -> int:
    hours, minutes, seconds = timestamp.split(" ")[1].split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + int(seconds)


def _print_counts(title: str, counts: Counter[str]) -> None:
    table = Table("outcome", "events", title=title)
    for outcome, count in sorted(counts.items()):
        table.add_row(outcome, f"{count:,}")
    table.add_row("total", f"{counts.total():,}", style="bold")
    Console().print(table)
