"""What a client may count on when it subscribes, changes its mind, and leaves half-way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from bus import background
from bus.ticks import channel, group_of
from config.tokens import Session
from realtime.stream import tick_fanout
from realtime.stream.clients import Client
from realtime.stream.tick_fanout import TickFanout
from tests.realtime.test_ticks import BUSY, RELIANCE, a_tick, elements, publish
from tests.support.eventually import eventually
from tests.support.wires import KeptWire

IDS = [instrument.instrument_id for instrument in BUSY]
CROWD = 200
Pair = tuple[Client, KeptWire]


def a_client() -> Pair:
    wire = KeptWire()
    return Client(Session(1, "TEST1", "CLIENT", 0), wire), wire


@pytest.fixture
async def fanout(redis: Redis) -> AsyncIterator[TickFanout]:
    opened = TickFanout(redis, BUSY, 10.0)
    async with background.running(opened.run(), "tick fan-out"):
        yield opened


async def subscribed(fanout: TickFanout, number: int) -> list[Pair]:
    """Clients of RELIANCE and INFY who have had their snapshots."""
    pairs = [a_client() for _ in range(number)]
    for client, _ in pairs:
        await fanout.subscribe(client, {"instruments": ["NSE:RELIANCE", "NSE:INFY"], "mode": "full"})
    await eventually(lambda: all(wire.of("snapshot") for _, wire in pairs))
    return pairs


async def told_of_a_tick(fanout: TickFanout, redis: Redis, pairs: list[Pair], volume: int) -> Pair:
    """The last of a crowd, whose tick has come to the gateway and is not written yet."""
    await publish(redis, a_tick(RELIANCE.token, volume=volume))
    client, wire = pairs[-1]
    # At every turn of the loop: a moment later it is written.
    await eventually(lambda: client.elements, every=0)
    return client, wire


@pytest.mark.parametrize("say", ["unsubscribe", "subscribe"])
async def test_no_tick_of_before_comes_after_the_answer(
    fanout: TickFanout, redis: Redis, monkeypatch: pytest.MonkeyPatch, say: str
) -> None:
    # One frame a slice: the answer comes in between.
    monkeypatch.setattr(tick_fanout, "SLICE_SECONDS", 0.0)
    await publish(redis, a_tick(RELIANCE.token, volume=1))
    pairs = await subscribed(fanout, CROWD)
    client, wire = await told_of_a_tick(fanout, redis, pairs, volume=2)
    if say == "unsubscribe":
        await fanout.unsubscribe(client, {"instruments": ["NSE:RELIANCE"]})
    else:
        await fanout.subscribe(client, {"instruments": ["NSE:RELIANCE"], "mode": "ltp"})
    answered_at = len(wire.all)
    await publish(redis, a_tick(RELIANCE.token, volume=3))

    def the_others_are_told() -> bool:
        return all(volumes(other.all)[-1:] == [3] for _, other in pairs[:-1])

    await eventually(the_others_are_told)
    assert volumes(wire.all[answered_at:]) == [], "neither a tick nor one of the old mode"
    assert volumes(wire.all)[-1] == 2, "what was due came before"


def volumes(told: list[tuple[str, Any]]) -> list[int]:
    """Of RELIANCE, in order; mode `ltp` has none."""
    kept = KeptWire()
    kept.all = told
    return [e["volume"] for _, e in elements(kept) if e["instrument"] == "NSE:RELIANCE" and "volume" in e]


async def test_an_instrument_named_often_is_answered_told_and_counted_once(
    fanout: TickFanout, redis: Redis
) -> None:
    await publish(redis, a_tick(RELIANCE.token))
    client, wire = a_client()
    named = ["NSE:RELIANCE", "NSE:NONE"] * 3
    answer = msgspec.to_builtins(await fanout.subscribe(client, {"instruments": named}))
    assert answer["accepted"] == ["NSE:RELIANCE"]
    assert [refusal["instrument"] for refusal in answer["refused"]] == ["NSE:NONE"]
    snapshot = (await eventually(lambda: wire.of("snapshot")))[0]
    assert Counter(e["instrument"] for e in snapshot) == {"NSE:RELIANCE": 1}
    answer = msgspec.to_builtins(await fanout.unsubscribe(client, {"instruments": named}))
    assert (answer["accepted"], [r["instrument"] for r in answer["refused"]]) == (
        ["NSE:RELIANCE"],
        ["NSE:NONE"],
    )
    await eventually(lambda: none_is_taken(redis))


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_subscribe_that_is_aborted_gives_back_the_groups_that_it_took(
    fanout: TickFanout, redis: Redis, leaves: bool
) -> None:
    await publish(redis, *(a_tick(instrument.token) for instrument in BUSY))
    for hops in range(0, 120, 3):
        client, _ = a_client()
        await fanout.subscribe(client, {"instruments": IDS})
        for _ in range(hops):
            await asyncio.sleep(0)
        if leaves:
            client.end()
            await fanout.leave(client)
        else:
            await fanout.unsubscribe(client, {"instruments": IDS})
    await eventually(lambda: none_is_taken(redis))
    client, wire = a_client()
    await fanout.subscribe(client, {"instruments": IDS})
    snapshot = (await eventually(lambda: wire.of("snapshot")))[0]
    assert sorted(e["instrument"] for e in snapshot) == sorted(IDS), "and is of use to the next"


async def none_is_taken(redis: Redis) -> bool:
    groups = {channel(group_of("NSE", instrument.token)) for instrument in BUSY}
    found: Any = await redis.execute_command("PUBSUB", "SHARDNUMSUB", *groups)  # type: ignore[no-untyped-call]
    return not any(found[1::2])


async def test_unsubscribing_waits_for_no_redis(redis: Redis) -> None:
    unheard = TickFanout(redis, BUSY, 10.0)
    # Nobody reads the bus: the subscribe waits for ever, as it does while Redis is away.
    client, _ = a_client()
    await unheard.subscribe(client, {"instruments": IDS})
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert (await unheard.unsubscribe(client, {"instruments": IDS})).accepted == IDS
    client.end()
