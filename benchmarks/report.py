"""What a run shows and keeps: a table of rates, a table of latencies, and a file of both with the machine."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.rows import AnyRow, LatencyRow, Quantile, Row

RESULTS = Path(__file__).parent / "results"


def show(rows: Sequence[AnyRow], console: Console) -> None:
    """The tables that `make bench` prints."""
    rates = [row for row in rows if isinstance(row, Row)]
    if rates:
        title = "operations a second, or what the work says: median, and lowest to highest"
        table = _table(title, "median", "spread", "of ceiling")
        for row in rates:
            spread = f"{row.lowest:,.0f} to {row.highest:,.0f}"
            _add(table, rates, row, f"{row.median:,.0f}", spread)
        console.print(table)
    latencies = [row for row in rows if isinstance(row, LatencyRow)]
    if latencies:
        table = _table("milliseconds: median of the rounds (lowest to highest)", "p50", "p99", "of ceiling")
        for late in latencies:
            _add(table, latencies, late, _spread(late.p50), _spread(late.p99))
        console.print(table)


def keep(rows: Sequence[AnyRow]) -> Path:
    """Write the run beside the others, with what it ran on."""
    now = datetime.now(UTC)
    run = {
        "at": now.isoformat(timespec="seconds"),
        "machine": _machine(),
        "rows": [asdict(row) for row in rows],
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    return path


def _table(title: str, *figures: str) -> Table:
    table = Table(title=title)
    table.add_column("work", max_width=20)
    table.add_column("")
    table.add_column("who", max_width=32)
    for column in figures:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("note")
    return table


def _add(table: Table, rows: Sequence[AnyRow], row: AnyRow, *figures: str) -> None:
    """The work is named at its first row; a line ends it."""
    group = [other for other in rows if other.work == row.work]
    work = row.work if row is group[0] else ""
    ratio = f"{row.of_ceiling:.2f}" if row.of_ceiling is not None else ""
    table.add_row(work, row.role, row.name, *figures, ratio, row.note, end_section=row is group[-1])


def _spread(quantile: Quantile) -> str:
    return f"{_ms(quantile.median)} ({_ms(quantile.lowest)} to {_ms(quantile.highest)})"


def _ms(milliseconds: float) -> str:
    """Three figures are enough."""
    return f"{milliseconds:.{2 if milliseconds < 10 else 1 if milliseconds < 100 else 0}f}"


def _machine() -> dict[str, object]:
    """The load says whether the machine was idle when the run ended."""
    return {
        "cpu": _first(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cpus": os.cpu_count(),
        "memory": _first(Path("/proc/meminfo"), "MemTotal"),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _first(file: Path, name: str) -> str | None:
    """The first value of that name; None where the system has no such file."""
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
