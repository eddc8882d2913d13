"""Subscriptions of clients to ticks of instruments, by turn, mode and slot of the tick table.

A subscription is added at once and started later, when the bus has given the latest rows of its group; only a
started one gets ticks. Pure bookkeeping; used by realtime/stream/tick_fanout.py.
"""

from collections import defaultdict
from collections.abc import Mapping, Set

from realtime.stream.clients import Client
from realtime.stream.quotes import Mode
from realtime.stream.tick_groups import TickGroups
from realtime.stream.tick_table import TickTable

TURNS, TURN_CLIENTS = 5, 1_000
"""A turn is filled with so many clients before the next is used: each turn writes every delta once more."""


class TickSubscriptions:
    def __init__(self, table: TickTable, groups: TickGroups) -> None:
        self._table, self._groups = table, groups
        self._watchers: list[dict[Mode, dict[int, set[Client]]]] = [
            {mode: defaultdict(set) for mode in Mode} for _ in range(TURNS)
        ]
        """Clients with a started subscription, by turn, mode and slot."""
        self._clients = [0] * TURNS
        """The number of clients in each turn."""

    def watchers(self, turn: int, mode: Mode) -> Mapping[int, Set[Client]]:
        """The clients of a turn that get ticks in this mode, by slot."""
        return self._watchers[turn][mode]

    def assign_turn(self, client: Client) -> None:
        """Place a client in the first turn that has room, or in the emptiest."""
        if client.turn < 0:
            client.turn = min(range(TURNS), key=lambda turn: max(self._clients[turn], TURN_CLIENTS - 1))
            self._clients[client.turn] += 1

    def add(self, client: Client, slot: int, mode: Mode) -> None:
        """Subscribe a client to an instrument, or to another mode of it."""
        if slot in client.modes:
            self.remove(client, slot)
        client.modes[slot] = mode
        self._groups.want(self._table.groups[slot])

    def start(self, client: Client, slot: int) -> None:
        """Let an added subscription get ticks."""
        self._table.watch(client.turn, slot)
        self._watchers[client.turn][client.modes[slot]][slot].add(client)

    def remove(self, client: Client, slot: int) -> None:
        """End a subscription, started or not."""
        watchers, mode = self._watchers[client.turn], client.modes.pop(slot)
        watchers[mode][slot].discard(client)
        if not watchers[mode][slot]:
            del watchers[mode][slot]
            if not any(slot in of_mode for of_mode in watchers.values()):
                self._table.unwatch(client.turn, slot)
        self._groups.unwant(self._table.groups[slot])

    def remove_client(self, client: Client) -> None:
        """End all subscriptions of a client that leaves."""
        for slot in list(client.modes):
            self.remove(client, slot)
        if client.turn >= 0:
            self._clients[client.turn] -= 1
