"""Frames are written in slices, other work in between: no client is told an older value after a newer one."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from bus import background
from bus.ticks import latest
from config.tokens import Session
from realtime.stream import tick_fanout, tick_subscriptions, tick_table
from realtime.stream.clients import Client, Closing
from realtime.stream.tick_fanout import TickFanout
from tests.realtime.test_ticks import BUSY, a_tick, publish
from tests.support.eventually import eventually

CLIENTS, ROUNDS = 300, 80
IDS = [instrument.instrument_id for instrument in BUSY]


class Told:
    """A wire that keeps the volumes it was told, by instrument and in order."""

    is_behind = False

    def __init__(self) -> None:
        self.volumes: dict[str, list[int]] = {}

    def send(self, event: str, body: bytes) -> None:
        raise AssertionError(event)

    push = send

    def push_list(self, event: str, elements: bytes) -> None:
        told: list[dict[str, Any]] = msgspec.json.decode(b"[" + elements + b"]")
        for element in told:
            if "volume" in element:
                self.volumes.setdefault(element["instrument"], []).append(element["volume"])

    def close(self, closing: Closing) -> None:
        raise AssertionError(closing)


@pytest.fixture
async def fanout(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TickFanout]:
    # One frame a slice: everything that can come in between does.
    monkeypatch.setattr(tick_fanout, "SLICE_SECONDS", 0.0)
    # All turns have clients.
    monkeypatch.setattr(tick_subscriptions, "TURN_CLIENTS", CLIENTS // 10)
    for module in (tick_fanout, tick_table):
        monkeypatch.setattr(module, "PUSH_SECONDS", 0.001)
    opened = TickFanout(redis, BUSY, 10.0)
    async with background.running(opened.run(), "tick fan-out"):
        yield opened


async def test_values_only_grow_newer_at_every_client_and_end_with_the_last(
    fanout: TickFanout, redis: Redis
) -> None:
    rng = random.Random(3)
    await redis.delete(*{latest(f"NSE:{instrument.token % 64}") for instrument in BUSY})
    clients = [Client(Session(user, "x", "CLIENT", 0), Told()) for user in range(CLIENTS)]
    last: dict[str, int] = {}
    for volume in range(1, ROUNDS + 1):
        some = rng.sample(BUSY, 15)
        last |= dict.fromkeys((instrument.instrument_id for instrument in some), volume)
        await publish(redis, *(a_tick(instrument.token, volume=volume) for instrument in some))
        for client in rng.sample(clients, 20):
            # Again and again: a snapshot is in the middle of the deltas.
            await fanout.subscribe(client, {"instruments": rng.sample(IDS, 10)})
        await asyncio.sleep(0.001)
    for client in clients:
        await fanout.subscribe(client, {"instruments": IDS})

    def all_told() -> bool:
        return all({i: v[-1] for i, v in client.wire.volumes.items()} == last for client in clients)  # type: ignore[attr-defined]

    await eventually(all_told)
    for client in clients:
        assert isinstance(client.wire, Told)
        for volumes in client.wire.volumes.values():
            assert volumes == sorted(volumes)
        client.end()


async def test_who_is_behind_and_subscribes_again_gets_one_snapshot_when_it_has_caught_up(
    fanout: TickFanout, redis: Redis
) -> None:
    wire, wanted = Told(), IDS[:3]
    await publish(redis, *(a_tick(instrument.token, volume=7) for instrument in BUSY[:3]))
    client = Client(Session(1, "x", "CLIENT", 0), wire)
    wire.is_behind = True
    for _ in range(5):
        await fanout.subscribe(client, {"instruments": wanted})
    await asyncio.sleep(0.3)
    assert wire.volumes == {}
    wire.is_behind = False
    await eventually(lambda: wire.volumes == {instrument_id: [7] for instrument_id in wanted})
    client.end()
