"""One user's order updates in this gateway: consecutive seqs to every client of the user.

Invariant: every update up to `last_seq` was delivered, or announced as a gap; an update that comes early
waits, one that comes twice is dropped. Pure bookkeeping; realtime/stream/updates.py fills it from Redis.
"""

import asyncio
from collections.abc import Mapping

from realtime.stream.clients import Client


class UserStream:
    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.members: set[Client] = set()
        """Clients attached or about to be."""
        self.clients: set[Client] = set()
        self.known = asyncio.Event()
        """`last_seq` is known; before that, everything that arrives is early."""
        self.is_open = False
        """Updates are delivered."""
        self.last_seq = 0
        self.early: dict[int, bytes] = {}
        self.changed = False
        """The kept tail may have more than was read."""
        self.healing: asyncio.Task[None] | None = None

    @property
    def is_whole(self) -> bool:
        return self.known.is_set() and not self.early

    def begin(self, last_seq: int) -> None:
        """Deliver every update after `last_seq` from now on, those that have arrived meanwhile too."""
        self.last_seq = min(last_seq, *(seq - 1 for seq in self.early)) if self.early else last_seq
        self.known.set()
        # After the tasks that wait for `known`, which add their clients first.
        asyncio.get_running_loop().call_soon(self._open)

    def _open(self) -> None:
        self.is_open = True
        self._deliver()

    def add(self, seq: int, frame: bytes) -> None:
        """Add an update, whether it comes in turn, early, late or again."""
        if not self.known.is_set() or seq > self.last_seq:
            self.early[seq] = frame
            self._deliver()

    def skip_hole(self) -> tuple[int, int]:
        """Announce the first hole as a gap and go on behind it; return its ends, both missing."""
        hole = self.last_seq + 1, min(self.early) - 1
        for client in self.clients:
            client.gap(*hole)
        self.last_seq = hole[1]
        self._deliver()
        return hole

    def _deliver(self) -> None:
        while self.is_open and (frame := self.early.pop(self.last_seq + 1, None)) is not None:
            self.last_seq += 1
            for client in self.clients:
                client.update(self.last_seq, frame)


def replay(client: Client, frames: Mapping[int, bytes], after_seq: int, last_seq: int) -> None:
    """Send the frames in order, and a gap for every hole between them."""
    expected = after_seq + 1
    for seq in sorted(frames):
        if seq > expected:
            client.gap(expected, seq - 1)
        client.update(seq, frames[seq])
        expected = seq + 1
    if expected <= last_seq:
        client.gap(expected, last_seq)
