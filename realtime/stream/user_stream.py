"""One user's order updates in this gateway: consecutive seqs to every client of the user.

Invariant: `last_seq` was handed out and everything before it, or announced as a gap; an update that comes
early waits, one that comes twice is dropped. Pure bookkeeping; realtime/stream/updates.py fills it from
Redis.
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
        """Updates are handed out."""
        self.last_seq = 0
        self.early: dict[int, bytes] = {}
        self.changed = False
        """The tail may hold more than was read."""
        self.healing: asyncio.Task[None] | None = None

    @property
    def is_whole(self) -> bool:
        return self.known.is_set() and not self.early

    def begin(self, last_seq: int) -> None:
        """From here on everything after `last_seq` is handed out, and all that has arrived meanwhile."""
        self.last_seq = min(last_seq, *(seq - 1 for seq in self.early)) if self.early else last_seq
        self.known.set()
        # After those who waited for `known` and are clients then.
        asyncio.get_running_loop().call_soon(self._open)

    def _open(self) -> None:
        self.is_open = True
        self._hand_out()

    def arrived(self, seq: int, frame: bytes) -> None:
        """Take an update, whether it comes in turn, early, late or again."""
        if not self.known.is_set() or seq > self.last_seq:
            self.early[seq] = frame
            self._hand_out()

    def give_up(self) -> tuple[int, int]:
        """Announce the first hole as a gap and go on behind it; its ends, both missing."""
        hole = self.last_seq + 1, min(self.early) - 1
        for client in self.clients:
            client.gap(*hole)
        self.last_seq = hole[1]
        self._hand_out()
        return hole

    def _hand_out(self) -> None:
        while self.is_open and (frame := self.early.pop(self.last_seq + 1, None)) is not None:
            self.last_seq += 1
            for client in self.clients:
                client.update(self.last_seq, frame)


def replay(client: Client, frames: Mapping[int, bytes], after_seq: int, last_seq: int) -> None:
    """Send the frames in order, and what is missing between them as gaps."""
    expected = after_seq + 1
    for seq in sorted(frames):
        if seq > expected:
            client.gap(expected, seq - 1)
        client.update(seq, frames[seq])
        expected = seq + 1
    if expected <= last_seq:
        client.gap(expected, last_seq)
