"""Ticks to the clients that subscribed to them: a snapshot, then the changes, one frame a client a beat.

Invariant: a client that reads ends with the last values of everything it is subscribed to. The changes of an
instrument are written once a turn, and every client that watches it shares their bytes. After the answer to
an `unsubscribe` or a change of mode comes nothing that was written before it. A client that is behind gets no
ticks; when it has caught up it gets a snapshot, and when it does not, its connection ends. Called by
realtime/stream/gateway.py.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np
from redis.asyncio import Redis

from bus.stream_frames import MessageAnswer, RefusedInstrument
from bus.ticks import TICK, Ticks
from domain.instruments import Instrument
from realtime.stream.clients import Client, Closing
from realtime.stream.distributor_watch import DistributorWatch
from realtime.stream.messages import INSTRUMENTS_MAX, Subscribe, Unsubscribe, read
from realtime.stream.quotes import Mode, changes, element
from realtime.stream.tick_groups import TickGroups
from realtime.stream.tick_subscriptions import TURNS, TickSubscriptions
from realtime.stream.tick_table import PUSH_SECONDS, TickTable

SLICE_SECONDS = 0.002
"""How long frames are written before other work gets its turn."""


class TickFanout:
    """`run` must be under way; a client may be behind for `behind_seconds`."""

    def __init__(self, redis: Redis, instruments: Sequence[Instrument], behind_seconds: float) -> None:
        self._behind_seconds = behind_seconds
        self._table = TickTable(instruments, TURNS)
        self._groups = TickGroups(redis, self._apply)
        self._distributor = DistributorWatch(redis, self._table.set_alive)
        self._subscriptions = TickSubscriptions(self._table, self._groups)
        self._at_once: defaultdict[int, list[int]] = defaultdict(list)
        """Slots by turn that are pushed before the next beat."""
        self._behind: set[Client] = set()
        self._touched: deque[Client] = deque()
        """Clients with elements that are not written yet."""
        self._pushed = asyncio.Event()

    async def run(self) -> None:
        """Fan out until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._groups.run(), name="tick groups")
            tasks.create_task(self._distributor.run(), name="distributor watch")
            tasks.create_task(self._beat(), name="tick beat")
            tasks.create_task(self._write(), name="tick frames")

    # messages of clients

    async def subscribe(self, client: Client, message: object) -> MessageAnswer:
        """Subscribe to instruments; the snapshot follows as soon as the bus has given the latest rows."""
        request = read(Subscribe, message)
        self._subscriptions.assign_turn(client)
        self._flush(client)
        accepted: list[str] = []
        refused: list[RefusedInstrument] = []
        slots: list[int] = []
        for instrument_id in dict.fromkeys(request.instruments):
            slot = self._table.slots.get(instrument_id)
            if slot is None:
                refused.append(_refused(instrument_id, "INSTRUMENT_UNKNOWN", "There is no such instrument."))
            elif slot not in client.modes and len(client.modes) >= INSTRUMENTS_MAX:
                detail = f"A connection may subscribe to {INSTRUMENTS_MAX} instruments."
                refused.append(_refused(instrument_id, "TOO_MANY_INSTRUMENTS", detail))
            else:
                self._subscriptions.add(client, slot, request.mode)
                slots.append(slot)
                accepted.append(instrument_id)
        client.begin(self._start(client, slots, request.mode))
        return MessageAnswer(ok=True, accepted=accepted, refused=refused)

    def include(self, client: Client, instrument_ids: Iterable[str]) -> None:
        """Subscribe to the instruments of the client's portfolio, in mode `ltp`, unless it is already."""
        self._subscriptions.assign_turn(client)
        slots = {self._table.slots[i] for i in instrument_ids if i in self._table.slots} - client.modes.keys()
        added = sorted(slots)[: INSTRUMENTS_MAX - len(client.modes)]
        for slot in added:
            self._subscriptions.add(client, slot, Mode.LTP)
        if added:
            client.begin(self._start(client, added, Mode.LTP))

    async def unsubscribe(self, client: Client, message: object) -> MessageAnswer:
        """End subscriptions; no tick of them comes after the answer."""
        request = read(Unsubscribe, message)
        self._flush(client)
        accepted: list[str] = []
        refused: list[RefusedInstrument] = []
        for instrument_id in dict.fromkeys(request.instruments):
            slot = self._table.slots.get(instrument_id)
            if slot is None or slot not in client.modes:
                refused.append(_refused(instrument_id, "NOT_SUBSCRIBED", "It was not subscribed to."))
            else:
                self._subscriptions.remove(client, slot)
                accepted.append(instrument_id)
        return MessageAnswer(ok=True, accepted=accepted, refused=refused)

    async def leave(self, client: Client) -> None:
        """Forget a client whose connection is gone."""
        self._subscriptions.remove_client(client)
        self._behind.discard(client)
        client.elements.clear()

    async def _start(self, client: Client, slots: list[int], mode: Mode) -> None:
        """Open the groups, then send a snapshot, and from there on deltas, of what is still subscribed to."""
        await self._groups.open({self._table.groups[slot] for slot in slots})
        if not self._distributor.is_alive:
            await self._distributor.look()
        started = [slot for slot in slots if client.modes.get(slot) is mode]
        if slots and not started:
            return
        for slot in started:
            self._subscriptions.start(client, slot)
        self._snapshot(client, started)

    # rows of the bus, pushed in turns

    def _apply(self, group: str, rows: Ticks) -> None:
        """Apply rows to the table; push at once those whose instruments were quiet."""
        loop = asyncio.get_running_loop()
        for turn, slots in self._table.apply(group, rows, loop.time()):
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
        """Push each turn once in PUSH_SECONDS, one after the other."""
        loop = asyncio.get_running_loop()
        beat = loop.time()
        for turn in cycle(range(TURNS)):
            beat = max(beat + PUSH_SECONDS / TURNS, loop.time())
            await asyncio.sleep(beat - loop.time())
            self._push(turn, self._table.due(turn, beat), beat)
            self._catch_up(beat)

    def _push(self, turn: int, slots: list[int], now: float) -> None:
        """Give the changes of these slots to the clients of the turn that watch them."""
        if not slots:
            return
        before, rows = self._table.pull(turn, slots, now)
        times = rows["time_ns"].tolist()
        for mode, texts in changes(before, rows):
            watchers = self._subscriptions.watchers(turn, mode)
            for slot, members, time_ns in zip(slots, texts, times, strict=True):
                if members and (clients := watchers.get(slot)):
                    shared = element(self._table.instrument_ids[slot], members, time_ns)
                    for client in clients:
                        if not client.elements:
                            self._touched.append(client)
                        client.elements.append(shared)
        self._pushed.set()

    # frames to clients

    async def _write(self) -> None:
        """Write a frame a client, thousands of them, in slices between the gateway's other work."""
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
        """Write what was pushed to the client and not written yet, in its order, as one frame."""
        elements, client.elements = client.elements, []
        if elements and not self._lags(client):
            client.wire.push_list("ticks", b",".join(elements))

    def _lags(self, client: Client) -> bool:
        """Whether the client is behind: it gets no ticks until it has caught up, and then a snapshot."""
        if client.behind_since is None and client.wire.is_behind:
            client.behind_since = asyncio.get_running_loop().time()
            self._behind.add(client)
        return client.behind_since is not None

    def _catch_up(self, now: float) -> None:
        """Send the latest values to clients that are no longer behind; end those that are for too long."""
        for client in list(self._behind):
            if not client.wire.is_behind:
                self._behind.discard(client)
                client.behind_since = None
                self._snapshot(client, client.modes)
            elif client.behind_since is not None and now - client.behind_since > self._behind_seconds:
                client.wire.close(Closing.TOO_SLOW)

    def _snapshot(self, client: Client, slots: Iterable[int]) -> None:
        """Send the last pushed values: later deltas are against them, so waiting ones are written first."""
        self._flush(client)
        if self._lags(client):
            return
        pushed, rows = self._table.pushed(client.turn, list(slots))
        times = rows["time_ns"].tolist()
        elements = [
            element(self._table.instrument_ids[slot], members, time_ns)
            for mode, texts in changes(np.zeros(len(rows), TICK), rows)
            for slot, members, time_ns in zip(pushed, texts, times, strict=True)
            if client.modes[slot] is mode
        ]
        client.wire.push_list("snapshot", b",".join(elements))


def _refused(instrument_id: str, code: str, detail: str) -> RefusedInstrument:
    return RefusedInstrument(instrument_id[:40], code, detail)
