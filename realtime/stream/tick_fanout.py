"""Ticks to the clients that subscribed to them: a snapshot, then what changed, one frame a client a beat.

Invariant: a client that reads ends with the last values of everything it is subscribed to. What changed of an
instrument is written once a turn and its bytes shared by all who watch it. After the answer to an
`unsubscribe` or a change of mode comes nothing that was written before it. A client that is behind is sent no
ticks; when it has caught up it gets a snapshot, and when it does not, its connection ends. Called by
realtime/stream/gateway.py.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from redis.asyncio import Redis

from bus.ticks import TICK, Ticks
from domain.instruments import Instrument
from realtime.stream.clients import Client, Closing
from realtime.stream.distributor_watch import DistributorWatch
from realtime.stream.messages import INSTRUMENTS_MAX, Subscribe, Unsubscribe, read
from realtime.stream.quotes import Mode, changes, element
from realtime.stream.tick_groups import TickGroups
from realtime.stream.tick_table import PUSH_SECONDS, TickTable

SLICE_SECONDS = 0.002
"""How long frames are written before other work comes in between."""
TURNS, TURN_CLIENTS = 5, 1_000
"""So many clients are told together before another turn is opened: each turn writes every delta anew."""


class TickFanout:
    """`run` must be under way; a client may be behind for `behind_seconds`."""

    def __init__(self, redis: Redis, instruments: Sequence[Instrument], behind_seconds: float) -> None:
        self._behind_seconds = behind_seconds
        self._table = TickTable(instruments, TURNS)
        self._groups = TickGroups(redis, self._arrived)
        self._distributor = DistributorWatch(redis, self._table.alive)
        self._watchers: list[dict[Mode, dict[int, set[Client]]]] = [
            {mode: defaultdict(set) for mode in Mode} for _ in range(TURNS)
        ]
        """Of each turn, by mode and slot."""
        self._clients = [0] * TURNS
        """In each turn."""
        self._at_once: defaultdict[int, list[int]] = defaultdict(list)
        """Slots of each turn."""
        self._behind: set[Client] = set()
        self._touched: deque[Client] = deque()
        """Clients with elements that are not written yet."""
        self._pushed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._groups.run(), name="tick groups")
            tasks.create_task(self._distributor.run(), name="distributor watch")
            tasks.create_task(self._beat(), name="tick beat")
            tasks.create_task(self._write(), name="tick frames")

    async def subscribe(self, client: Client, said: object) -> dict[str, Any]:
        """The answer; the snapshot follows as soon as the bus has given the latest rows."""
        asked = read(Subscribe, said)
        self._seat(client)
        self._flush(client)
        accepted: list[str] = []
        refused: list[dict[str, str]] = []
        slots: list[int] = []
        for instrument_id in dict.fromkeys(asked.instruments):
            slot = self._table.slots.get(instrument_id)
            if slot is None:
                refused.append(_refusal(instrument_id, "INSTRUMENT_UNKNOWN", "There is no such instrument."))
            elif slot not in client.modes and len(client.modes) >= INSTRUMENTS_MAX:
                detail = f"A connection may subscribe to {INSTRUMENTS_MAX} instruments."
                refused.append(_refusal(instrument_id, "TOO_MANY_INSTRUMENTS", detail))
            else:
                self._note(client, slot, asked.mode)
                slots.append(slot)
                accepted.append(instrument_id)
        client.begin(self._open(client, slots, asked.mode))
        return {"accepted": accepted, "refused": refused}

    def include(self, client: Client, instrument_ids: Iterable[str]) -> None:
        """Of the client's portfolio: in mode `ltp` what it is not subscribed to already."""
        self._seat(client)
        slots = {self._table.slots[i] for i in instrument_ids if i in self._table.slots} - client.modes.keys()
        taken = sorted(slots)[: INSTRUMENTS_MAX - len(client.modes)]
        for slot in taken:
            self._note(client, slot, Mode.LTP)
        if taken:
            client.begin(self._open(client, taken, Mode.LTP))

    async def unsubscribe(self, client: Client, said: object) -> dict[str, Any]:
        asked = read(Unsubscribe, said)
        self._flush(client)
        accepted: list[str] = []
        refused: list[dict[str, str]] = []
        for instrument_id in dict.fromkeys(asked.instruments):
            slot = self._table.slots.get(instrument_id)
            if slot is None or slot not in client.modes:
                refused.append(_refusal(instrument_id, "NOT_SUBSCRIBED", "It was not subscribed to."))
            else:
                self._drop(client, slot)
                accepted.append(instrument_id)
        return {"accepted": accepted, "refused": refused}

    async def leave(self, client: Client) -> None:
        for slot in list(client.modes):
            self._drop(client, slot)
        if client.turn >= 0:
            self._clients[client.turn] -= 1
        self._behind.discard(client)
        client.elements.clear()

    def _seat(self, client: Client) -> None:
        """In the first turn that has room, or the emptiest."""
        if client.turn < 0:
            client.turn = min(range(TURNS), key=lambda turn: max(self._clients[turn], TURN_CLIENTS - 1))
            self._clients[client.turn] += 1

    def _note(self, client: Client, slot: int, mode: Mode) -> None:
        if slot in client.modes:
            self._drop(client, slot)
        client.modes[slot] = mode
        self._groups.want(self._table.groups[slot])

    async def _open(self, client: Client, slots: list[int], mode: Mode) -> None:
        """Take the groups from the bus, then snapshot and deltas of what is still subscribed to."""
        await self._groups.take({self._table.groups[slot] for slot in slots})
        if not self._distributor.is_alive:
            await self._distributor.look()
        opened = [slot for slot in slots if client.modes.get(slot) is mode]
        if slots and not opened:
            return
        for slot in opened:
            self._table.watch(client.turn, slot)
            self._watchers[client.turn][mode][slot].add(client)
        self._snapshot(client, opened)

    def _drop(self, client: Client, slot: int) -> None:
        watchers, mode = self._watchers[client.turn], client.modes.pop(slot)
        watchers[mode][slot].discard(client)
        if not watchers[mode][slot]:
            del watchers[mode][slot]
            if not any(slot in of_mode for of_mode in watchers.values()):
                self._table.unwatch(client.turn, slot)
        self._groups.unwant(self._table.groups[slot])

    def _arrived(self, group: str, rows: Ticks) -> None:
        loop = asyncio.get_running_loop()
        for turn, slots in self._table.take(group, rows, loop.time()):
            if not self._at_once:
                # After the messages that have arrived with this one.
                loop.call_soon(self._push_at_once)
            self._at_once[turn] += slots

    def _push_at_once(self) -> None:
        now = asyncio.get_running_loop().time()
        for turn, slots in self._at_once.items():
            self._push(turn, slots, now)
        self._at_once.clear()

    async def _beat(self) -> None:
        """Each turn once in PUSH_SECONDS, one after the other."""
        loop = asyncio.get_running_loop()
        beat = loop.time()
        for turn in cycle(range(TURNS)):
            beat = max(beat + PUSH_SECONDS / TURNS, loop.time())
            await asyncio.sleep(beat - loop.time())
            self._push(turn, self._table.due(turn, beat), beat)
            self._catch_up(beat)

    def _push(self, turn: int, slots: list[int], now: float) -> None:
        if not slots:
            return
        before, rows = self._table.pull(turn, slots, now)
        times = rows["time_ns"].tolist()
        for mode, texts in changes(before, rows):
            watchers = self._watchers[turn][mode]
            for slot, members, time_ns in zip(slots, texts, times, strict=True):
                if members and (clients := watchers.get(slot)):
                    bytes_of_all = element(self._table.instrument_ids[slot], members, time_ns)
                    for client in clients:
                        if not client.elements:
                            self._touched.append(client)
                        client.elements.append(bytes_of_all)
        self._pushed.set()

    async def _write(self) -> None:
        """A frame a client, thousands of them; whatever else the gateway has to do comes in between."""
        loop = asyncio.get_running_loop()
        while True:
            await self._pushed.wait()
            self._pushed.clear()
            while self._touched:
                until = loop.time() + SLICE_SECONDS
                while self._touched:
                    self._flush(self._touched.popleft())
                    if loop.time() >= until:
                        break
                await asyncio.sleep(0)

    def _flush(self, client: Client) -> None:
        """What was pushed and not written yet, in its order, as one frame."""
        elements, client.elements = client.elements, []
        if elements and not self._lags(client):
            client.wire.push_list("ticks", b",".join(elements))

    def _lags(self, client: Client) -> bool:
        """Whether it is behind: it is told nothing, and a snapshot of everything when it has caught up."""
        if client.behind_since is None and client.wire.is_behind:
            client.behind_since = asyncio.get_running_loop().time()
            self._behind.add(client)
        return client.behind_since is not None

    def _catch_up(self, now: float) -> None:
        """The latest values to clients who can take them again."""
        for client in list(self._behind):
            if not client.wire.is_behind:
                self._behind.discard(client)
                client.behind_since = None
                self._snapshot(client, client.modes)
            elif client.behind_since is not None and now - client.behind_since > self._behind_seconds:
                client.wire.close(Closing.TOO_SLOW)

    def _snapshot(self, client: Client, slots: Iterable[int]) -> None:
        """What was pushed last: the deltas that follow are against it, so those before it go first."""
        self._flush(client)
        if self._lags(client):
            return
        found, rows = self._table.pushed(client.turn, list(slots))
        times = rows["time_ns"].tolist()
        elements = [
            element(self._table.instrument_ids[slot], members, time_ns)
            for mode, texts in changes(np.zeros(len(rows), TICK), rows)
            for slot, members, time_ns in zip(found, texts, times, strict=True)
            if client.modes[slot] is mode
        ]
        client.wire.push_list("snapshot", b",".join(elements))


def _refusal(instrument_id: str, code: str, detail: str) -> dict[str, str]:
    return {"instrument": instrument_id[:40], "code": code, "detail": detail}
