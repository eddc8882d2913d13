"""The last tick of every instrument, what was last pushed of it, and which are due.

Clients get ticks in turns, so that frames are fresh and the work is spread: each turn has its own clients,
its own moments and its own last pushed values.

Invariant: in each turn an instrument is due at most once in PUSH_SECONDS; a tick after a quiet spell is due
at once. Deltas are against what was pushed last in the turn, so a client that got a snapshot of the pushed
rows and every delta after it has the same values as the table. While the distributor is not at work every
price is stale. Pure bookkeeping in numpy; used by realtime/stream/tick_fanout.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bus.ticks import TICK, Ticks, group_of
from domain.instruments import Instrument

PUSH_SECONDS = 0.25


class TickTable:
    """A slot is an instrument's place; times are seconds of the event loop's clock."""

    def __init__(self, instruments: Sequence[Instrument], turns: int) -> None:
        self.instrument_ids = [instrument.instrument_id for instrument in instruments]
        self.groups = [group_of(instrument.exchange, instrument.token) for instrument in instruments]
        self.slots = {instrument_id: slot for slot, instrument_id in enumerate(self.instrument_ids)}
        self._slots: dict[str, dict[int, int]] = {}
        for slot, (group, instrument) in enumerate(zip(self.groups, instruments, strict=True)):
            self._slots.setdefault(group, {})[instrument.token] = slot
        number = len(instruments)
        self._last: Any = np.zeros(number, TICK)
        self._pushed: Any = np.zeros((turns, number), TICK)
        self._pushed_at = np.full((turns, number), -np.inf)
        self._dirty = np.zeros((turns, number), bool)
        self._watched = np.zeros((turns, number), bool)
        self._is_alive = False

    def apply(self, group: str, rows: Ticks, now: float) -> list[tuple[int, list[int]]]:
        """Keep the last row of each instrument; return the slots that are due at once, by turn."""
        slots_of = self._slots.get(group, {})
        slots = np.array([slots_of.get(token, -1) for token in rows["token"].tolist()], int)
        known = slots >= 0
        slots, rows = slots[known], rows[known]
        self._last[slots] = rows
        watched = self._watched[:, slots]
        quiet = watched & ~self._dirty[:, slots] & _is_due(self._pushed_at[:, slots], now)
        self._dirty[:, slots] |= watched
        turns = np.flatnonzero(quiet.any(axis=1)).tolist()
        return [(turn, slots[quiet[turn]].tolist()) for turn in turns]

    def set_alive(self, is_alive: bool) -> None:
        """Set whether the distributor is at work, else every price is stale; all watched slots become due."""
        self._is_alive = is_alive
        self._dirty |= self._watched & (self._last["token"] != 0)

    def watch(self, turn: int, slot: int) -> None:
        """Make deltas of a slot from now on; values before that were pushed to nobody and need none."""
        if not self._watched[turn, slot]:
            self._watched[turn, slot] = True
            self._pushed[turn, slot] = self._shown([slot])[0]

    def unwatch(self, turn: int, slot: int) -> None:
        self._watched[turn, slot] = self._dirty[turn, slot] = False

    def due(self, turn: int, now: float) -> list[int]:
        """The slots with a tick that may be pushed now."""
        slots: list[int] = np.flatnonzero(self._dirty[turn] & _is_due(self._pushed_at[turn], now)).tolist()
        return slots

    def pull(self, turn: int, slots: Sequence[int], now: float) -> tuple[Ticks, Ticks]:
        """Return the last pushed rows of these slots and the new ones, which count as pushed now."""
        before, rows = self._pushed[turn, slots], self._shown(slots)
        self._pushed[turn, slots] = rows
        self._pushed_at[turn, slots] = now
        self._dirty[turn, slots] = False
        return before, rows

    def pushed(self, turn: int, slots: Sequence[int]) -> tuple[list[int], Ticks]:
        """Return the slots that have had a tick, and their last pushed rows."""
        found = [slot for slot in slots if self._pushed["token"][turn, slot]]
        rows: Ticks = self._pushed[turn, found]
        return found, rows

    def _shown(self, slots: Sequence[int]) -> Ticks:
        """A copy of the last rows as clients shall see them."""
        rows: Ticks = self._last[slots]
        if not self._is_alive:
            rows["stale"] = 1
        return rows


def _is_due(pushed_at: NDArray[np.float64], now: float) -> NDArray[np.bool_]:
    """Whether a slot may be pushed again; beats are sums of fractions, so a microsecond early is on time."""
    return pushed_at <= now - PUSH_SECONDS + 1e-6
