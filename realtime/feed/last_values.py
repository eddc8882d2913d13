"""The last-wins table of one exchange: a row an instrument, written by whole batches of packets.

Invariant: a row holds the state of the highest packet number that named its instrument; a late copy or an
older snapshot never puts it back. Rows that changed since `take_changed` are remembered. Records of tokens
that are not in the instrument master fall into one spare row that is never read. Called by feed_handler.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bus.ticks import RECORD, TICK, Ticks
from exchange.feed import PACKET_RECORDS, Records

_PLACES = np.arange(PACKET_RECORDS)
_OPAQUE = np.dtype(f"V{RECORD.itemsize}")
"""Records are copied as bytes: numpy copies a structured type field by field, ten times slower."""


class LastValues:
    """`tokens` are the exchange's instruments; a row's number is its token's place among them."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = np.array(tokens, np.int64)
        spare = len(self.tokens)
        self._token_max = int(self.tokens.max(initial=0)) + 1
        self._row_of = np.full(self._token_max + 1, spare, np.int32)
        self._row_of[self.tokens] = np.arange(spare)
        self._records = np.zeros(spare + 1, RECORD)
        self._sequence = np.full(spare + 1, -1, np.int64)
        """Of the packet that wrote the row in this session, -1 for none yet."""
        self._received_ns = np.zeros(spare + 1, np.int64)
        self._stale = np.zeros(spare + 1, np.bool_)
        self._changed = np.zeros(spare + 1, np.bool_)
        self._writer = np.zeros(spare + 1, np.int64)
        self.unknown = 0
        """Records of tokens that are not in the master."""

    def write(self, packets: Records, received_ns: int) -> "WrittenRows":
        """Take the records of packets in ascending order of their numbers."""
        at = np.flatnonzero(packets["count"][:, None] > _PLACES)
        tokens = packets["records"]["token"].reshape(-1)[at]
        rows = self._row_of[np.minimum(tokens, self._token_max)]
        numbers = np.repeat(packets["sequence"].astype(np.int64), packets["count"])
        current = numbers >= self._sequence[rows]
        if not current.all():
            at, rows, numbers = at[current], rows[current], numbers[current]
        self._writer[rows] = at
        last = np.flatnonzero(self._writer[rows] == at)
        rows_once = rows[last]
        packet, place = np.divmod(at[last], PACKET_RECORDS)
        _opaque(self._records)[rows_once] = _opaque(packets["records"])[packet, place]
        self._sequence[rows_once] = numbers[last]
        self._received_ns[rows_once] = received_ns
        self._stale[rows_once] = False
        self._changed[rows_once] = True
        self.unknown += int(np.count_nonzero(rows == len(self.tokens)))
        return WrittenRows(rows, packets, at)

    def begin_session(self) -> None:
        """The sender numbers its packets anew; the rows stand until it says otherwise."""
        self._sequence[:] = -1

    def mark_stale(self, before: int | None = None) -> None:
        """Flag every row, or those that no packet since number `before` has written."""
        rows = self._received_ns > 0
        if before is not None:
            rows &= self._sequence < before
        self._changed |= rows & ~self._stale
        self._stale |= rows

    def covered(self, sequence: int) -> bool:
        """Has every row that was ever written been written by this packet number or a later one?"""
        return bool((self._sequence[:-1] >= sequence)[self._received_ns[:-1] > 0].all())

    def mark_changed(self) -> None:
        """Everything known is to be told again."""
        self._changed |= self._received_ns > 0

    def changed(self) -> NDArray[np.intp]:
        """Rows that have changed."""
        return np.flatnonzero(self._changed[:-1])

    def ticks(self, rows: NDArray[np.intp]) -> Ticks:
        """A copy of these rows as they go onto the bus."""
        out = np.empty(len(rows), TICK)
        words = out.view(np.dtype([("record", _OPAQUE), ("received_ns", "<i8"), ("stale", "u1")]))
        words["record"] = _opaque(self._records)[rows]
        words["received_ns"] = self._received_ns[rows]
        words["stale"] = self._stale[rows]
        return out

    def take(self, rows: NDArray[np.intp]) -> Ticks:
        """A copy of these rows, which count as told from here on."""
        self._changed[rows] = False
        return self.ticks(rows)


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """The ticks of a batch in order, all of them, for whoever needs more than the last of each instrument."""

    rows: NDArray[np.int32]
    _packets: Records
    _at: NDArray[np.intp]

    def column(self, name: str) -> NDArray[Any]:
        """This field of each tick."""
        field: NDArray[Any] = self._packets["records"][name].reshape(-1)[self._at]
        return field


def _opaque(records: Records) -> NDArray[np.void]:
    return records.view(_OPAQUE)
