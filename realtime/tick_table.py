"""The last tick of every instrument, what was last pushed of it, and which are due.

Invariant: an instrument is due at most once in PUSH_SECONDS; a tick after a quiet spell is due at once.
Deltas are against what was pushed last, so a client that got a snapshot of the pushed rows and every delta
after it has the same values as the table. Pure bookkeeping in numpy; used by realtime/tick_fanout.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from domain.instruments import Instrument
from exchange.ticks import TICK, Ticks, group_of

PUSH_SECONDS = 0.25


class TickTable:
    """A slot is an instrument's place; times are seconds of the event loop's clock."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.instrument_ids = [instrument.instrument_id for instrument in instruments]
        self.groups = [group_of(instrument.exchange, instrument.token) for instrument in instruments]
        self.slots = {instrument_id: slot for slot, instrument_id in enumerate(self.instrument_ids)}
        self._slots: dict[str, dict[int, int]] = {}
        for slot, (group, instrument) in enumerate(zip(self.groups, instruments, strict=True)):
            self._slots.setdefault(group, {})[instrument.token] = slot
        number = len(instruments)
        self._last: Any = np.zeros(number, TICK)
        self._pushed: Any = np.zeros(number, TICK)
        self._pushed_at = np.full(number, -np.inf)
        self._dirty = np.zeros(number, bool)
        self._watched = np.zeros(number, bool)

    def take(self, group: str, rows: Ticks, now: float) -> list[int]:
        """Rows of a group, the last one of an instrument wins; the slots that are due at once."""
        slots_of = self._slots.get(group, {})
        slots = np.array([slots_of.get(token, -1) for token in rows["token"].tolist()], int)
        known = slots >= 0
        slots, rows = slots[known], rows[known]
        self._last[slots] = rows
        watched = slots[self._watched[slots]]
        quiet = ~self._dirty[watched] & (self._pushed_at[watched] <= now - PUSH_SECONDS)
        self._dirty[watched] = True
        at_once: list[int] = watched[quiet].tolist()
        return at_once

    def watch(self, slot: int) -> None:
        """From now on; what was not told to anybody needs no delta."""
        if not self._watched[slot]:
            self._watched[slot] = True
            self._pushed[slot] = self._last[slot]

    def unwatch(self, slot: int) -> None:
        self._watched[slot] = self._dirty[slot] = False

    def due(self, now: float) -> list[int]:
        """Slots with a tick that may be told now."""
        due: list[int] = np.flatnonzero(self._dirty & (self._pushed_at <= now - PUSH_SECONDS)).tolist()
        return due

    def pull(self, slots: Sequence[int], now: float) -> tuple[Ticks, Ticks]:
        """What was pushed of these slots, and what is to be pushed; it counts as pushed now."""
        before, rows = self._pushed[slots], self._last[slots]
        self._pushed[slots] = rows
        self._pushed_at[slots] = now
        self._dirty[slots] = False
        return before, rows

    def pushed(self, slots: Sequence[int]) -> tuple[list[int], Ticks]:
        """Those of the slots of which there is a tick, and what was pushed last."""
        found = [slot for slot in slots if self._pushed["token"][slot]]
        rows: Ticks = self._pushed[found]
        return found, rows
