"""Which packets of two lines are first copies, and which numbers are missing on both.

Invariant: a number is taken once per line at most, and every number up to the highest heard was either taken,
is waited for in `_gaps`, or has been reported. One arbiter a session of the sender, pure: numbers and times
come in. Source: docs/feed-format.md. Called by feed_handler.py.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

OTHER_LINE_NS = 20_000_000
"""How long a number missing on one line may still come by the other before it is a gap."""
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers `first` to `last`, missed at `since_ns`."""

    first: int
    last: int
    since_ns: int

    @property
    def packets(self) -> int:
        return self.last - self.first + 1


class LineArbiter:
    """`last` is the highest number heard of; at first, the one before those that are wanted."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._gaps: list[Gap] = []

    def take(self, numbers: Numbers, now_ns: int) -> NDArray[np.bool_]:
        """Which of one line's ascending numbers are wanted."""
        wanted = numbers > self.last
        if self._gaps and not wanted.all():
            wanted |= self._fill(numbers)
        self._advance(numbers[numbers > self.last], now_ns)
        return wanted

    def announce(self, number: int, now_ns: int) -> None:
        """A heartbeat says that packets up to this number were sent."""
        if number > self.last:
            self._gaps.append(Gap(self.last + 1, number, now_ns))
            self.last = number

    def overdue(self, now_ns: int) -> list[Gap]:
        """Gaps that neither line filled in time, each told once: from here on a snapshot has to heal them."""
        late = [gap for gap in self._gaps if now_ns - gap.since_ns >= OTHER_LINE_NS]
        if late:
            self._gaps = [gap for gap in self._gaps if now_ns - gap.since_ns < OTHER_LINE_NS]
        return late

    def _advance(self, ahead: Numbers, now_ns: int) -> None:
        if not len(ahead):
            return
        heard = np.concatenate(([self.last], ahead))
        self._gaps += [
            Gap(int(heard[at]) + 1, int(heard[at + 1]) - 1, now_ns)
            for at in np.flatnonzero(np.diff(heard) > 1)
        ]
        self.last = int(ahead[-1])

    def _fill(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which numbers lie in gaps; what they leave open of those stays missing."""
        firsts = np.array([gap.first for gap in self._gaps])
        lasts = np.array([gap.last for gap in self._gaps])
        place = np.searchsorted(firsts, numbers, "right") - 1
        filling: NDArray[np.bool_] = (place >= 0) & (numbers <= lasts[place])
        touched = {int(at) for at in place[filling]}
        if touched:
            self._gaps = [
                part
                for at, gap in enumerate(self._gaps)
                for part in (_left(gap, numbers[filling & (place == at)]) if at in touched else (gap,))
            ]
        return filling


def _left(gap: Gap, found: Numbers) -> list[Gap]:
    """The parts of a gap between the numbers found in it."""
    edges = [gap.first - 1, *found.tolist(), gap.last + 1]
    return [Gap(a + 1, b - 1, gap.since_ns) for a, b in pairwise(edges) if b - a > 1]
