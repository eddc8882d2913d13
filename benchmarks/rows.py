"""A benchmark's row, how it is measured, and how it is shown.

The contestants of a row take turns (A B C A B C ...), so a machine that drifts drifts for all; medians are
shown with their spread, and ratios are what counts. Nothing here is asserted.
"""

import math
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from rich.progress import track

NANOS_A_MILLISECOND = 1_000_000
Value = TypeVar("Value")
Measured = tuple[Value, str]
"""What a round found, and a note about it."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """`run(n)` does the work n times; `role` is peer, ours or ceiling."""

    role: str
    name: str
    run: Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Trial(Generic[Value]):
    """A contestant that measures itself: a rate, or the nanoseconds of each operation, and a note."""

    role: str
    name: str
    run: Callable[[], Awaitable[Measured[Value]]]


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
    """Of the round that is the median."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """Milliseconds below which a share of a round's operations stayed, over the rounds."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Latencies; `of_ceiling` compares the p50s."""

    work: str
    role: str
    name: str
    p50: Quantile
    p99: Quantile
    samples: int
    """Of all rounds."""
    of_ceiling: float | None
    note: str = ""


AnyRow = Row | LatencyRow


async def measure(work: str, contestants: Sequence[Contestant], *, times: int, rounds: int = 5) -> list[Row]:
    """Rates of each contestant doing the work `times` a round, after one round that is not counted."""

    async def rate(contestant: Contestant) -> Measured[float]:
        began = time.perf_counter()
        await contestant.run(times)
        return times / (time.perf_counter() - began), ""

    return await compare(work, [Trial(c.role, c.name, partial(rate, c)) for c in contestants], rounds=rounds)


async def compare(work: str, trials: Sequence[Trial[float]], *, rounds: int = 5) -> list[Row]:
    """Rates of trials that measure themselves."""
    found = await _rounds(work, trials, rounds)
    medians = [statistics.median(rate for rate, _ in each) for each in found]
    ceiling = _ceiling([trial.role for trial in trials], medians)
    return [
        Row(
            work,
            trial.role,
            trial.name,
            median,
            min(rate for rate, _ in each),
            max(rate for rate, _ in each),
            median / ceiling if ceiling else None,
            sorted(each)[len(each) // 2][1],
        )
        for trial, median, each in zip(trials, medians, found, strict=True)
    ]


async def compare_latencies(
    work: str, trials: Sequence[Trial[list[int]]], *, rounds: int = 5
) -> list[LatencyRow]:
    """Latencies of trials that give the nanoseconds of each of their operations."""
    found = await _rounds(work, trials, rounds)
    return latency_rows(work, [(trial.role, trial.name) for trial in trials], found)


def latency_rows(
    work: str, who: Sequence[tuple[str, str]], found: Sequence[Sequence[Measured[list[int]]]]
) -> list[LatencyRow]:
    """Of rounds that were measured already; `who` is role and name, with a sequence of rounds each."""
    halves = [quantile((took for took, _ in each), 0.5) for each in found]
    ceiling = _ceiling([role for role, _ in who], [half.median for half in halves])
    return [
        LatencyRow(
            work,
            role,
            name,
            half,
            quantile((took for took, _ in each), 0.99),
            sum(len(took) for took, _ in each),
            half.median / ceiling if ceiling else None,
            each[-1][1],
        )
        for (role, name), half, each in zip(who, halves, found, strict=True)
    ]


def quantile(rounds: Iterable[Sequence[int]], share: float) -> Quantile:
    """Of each round by nearest rank, then the median of the rounds."""
    each = [sorted(took)[math.ceil(share * len(took)) - 1] / NANOS_A_MILLISECOND for took in rounds]
    return Quantile(statistics.median(each), min(each), max(each))


async def _rounds(
    work: str, trials: Sequence[Trial[Value]], rounds: int
) -> Sequence[Sequence[Measured[Value]]]:
    """Rounds by trial, after one that is not counted."""
    found: list[list[Measured[Value]]] = [[] for _ in trials]
    for number in track(range(rounds + 1), work, transient=True):
        for trial, each in zip(trials, found, strict=True):
            measured = await trial.run()
            if number:
                each.append(measured)
    return found


def _ceiling(roles: Sequence[str], medians: Sequence[float]) -> float | None:
    return next((median for role, median in zip(roles, medians, strict=True) if role == "ceiling"), None)
