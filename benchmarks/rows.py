"""A benchmark's row, how it is measured, and how it is shown.

The contestants of a row take turns (A B C A B C ...), so a machine that drifts drifts for all; medians are
shown with their spread, and ratios are what counts. Nothing here is asserted.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Contestant:
    """`run(n)` does the work n times; `role` is peer, ours or ceiling."""

    role: str
    name: str
    run: Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """Rates in operations a second over the rounds."""

    work: str
    role: str
    name: str
    median: float
    lowest: float
    highest: float
    of_ceiling: float | None
    """This median divided by the ceiling's."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A contestant that measures itself: `run()` gives a rate and a note about the round."""

    role: str
    name: str
    run: Callable[[], Awaitable[tuple[float, str]]]


async def measure(work: str, contestants: Sequence[Contestant], *, times: int, rounds: int = 5) -> list[Row]:
    """Rates of each contestant doing the work `times` a round, after one round that is not counted."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            began = time.perf_counter()
            await contestant.run(times)
            if number:
                rates[contestant.name].append(times / (time.perf_counter() - began))
    return _rows(work, contestants, rates)


async def compare(work: str, trials: Sequence[Trial], *, rounds: int = 5) -> list[Row]:
    """As `measure`; the note is the last round's."""
    rates: dict[str, list[float]] = {trial.name: [] for trial in trials}
    notes: dict[str, str] = {}
    for number in range(rounds + 1):
        for trial in trials:
            rate, notes[trial.name] = await trial.run()
            if number:
                rates[trial.name].append(rate)
    return _rows(work, trials, rates, notes)


def _rows(
    work: str,
    contestants: Sequence[Contestant | Trial],
    rates: Mapping[str, Sequence[float]],
    notes: Mapping[str, str] | None = None,
) -> list[Row]:
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ceiling = next((medians[c.name] for c in contestants if c.role == "ceiling"), None)
    return [
        Row(
            work,
            c.role,
            c.name,
            medians[c.name],
            min(rates[c.name]),
            max(rates[c.name]),
            medians[c.name] / ceiling if ceiling else None,
            (notes or {}).get(c.name, ""),
        )
        for c in contestants
    ]


def show(rows: Sequence[Row], console: Console) -> None:
    """The table that `make bench` prints."""
    table = Table(title="operations a second: median, and lowest to highest")
    for column in ("work", "", "who"):
        table.add_column(column, no_wrap=True)
    for column in ("median", "spread", "of ceiling"):
        table.add_column(column, justify="right", no_wrap=True)
    if noted := any(row.note for row in rows):
        table.add_column("note")
    for at, row in enumerate(rows):
        first = at == 0 or rows[at - 1].work != row.work
        table.add_row(
            row.work if first else "",
            row.role,
            row.name,
            f"{row.median:,.0f}",
            f"{row.lowest:,.0f} to {row.highest:,.0f}",
            f"{row.of_ceiling:.2f}" if row.of_ceiling is not None else "",
            *([row.note] if noted else []),
            end_section=at + 1 == len(rows) or rows[at + 1].work != row.work,
        )
    console.print(table)


def keep(rows: Sequence[Row]) -> Path:
    """Write the run beside the others, with what it ran on."""
    now = datetime.now(UTC)
    run = {
        "at": now.isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "rows": [asdict(row) for row in rows],
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    return path
