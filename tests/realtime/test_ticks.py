"""Ticks to subscribers: a snapshot, then what changed, and at the end the last value of everything."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from bus.tick_bus import Publisher
from bus.ticks import TICK, Ticks, channel, group_of, latest
from domain.money import rupees
from domain.time import rfc3339
from exchange.files.master import read_master
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, Told, a_token, plain, socket_io

MASTER = read_master("NSE")
RELIANCE, INFY, TCS, SBIN = (MASTER[symbol] for symbol in ("RELIANCE", "INFY", "TCS", "SBIN"))
BUSY = [instrument for instrument in MASTER.values() if instrument.tradable][:40]
USER = 1


def a_tick(token: int, **fields: Any) -> Ticks:
    row = np.zeros(1, TICK)
    row["token"], row["time_ns"] = token, time.time_ns()
    row["ltp"], row["previous_close"], row["volume"] = 245130, 244000, 1_234_567
    row["bids"]["price"][0, 0], row["bids"]["quantity"][0, 0] = 245125, 10
    row["asks"]["price"][0, 0], row["asks"]["quantity"][0, 0] = 245135, 20
    for name, value in fields.items():
        row[name] = value
    return row


async def publish(redis: Redis, *rows: Ticks) -> None:
    groups: dict[str, list[Ticks]] = {}
    for row in rows:
        groups.setdefault(group_of("NSE", int(row["token"][0])), []).append(row)
    await Publisher(redis).beat()
    await Publisher(redis).publish({group: np.concatenate(parts) for group, parts in groups.items()})


def elements(told: Told) -> Iterable[tuple[str, dict[str, Any]]]:
    """Every instrument's object of every snapshot and delta, in order."""
    for event, body in told.all:
        if event in ("snapshot", "ticks"):
            for element in body if isinstance(body, list) else body[event]:
                yield event, element


def state(told: Told) -> dict[str, dict[str, Any]]:
    """What a client knows at the end: snapshots replace, deltas change."""
    known: dict[str, dict[str, Any]] = {}
    for event, element in elements(told):
        if event == "snapshot":
            known[element["instrument"]] = element
        else:
            known.setdefault(element["instrument"], {}).update(element)
    return known


async def test_a_snapshot_then_only_what_changed(gateway: GatewayProcess, redis: Redis) -> None:
    first = a_tick(RELIANCE.token)
    await publish(redis, first)
    async with socket_io(gateway, a_token(gateway.settings, USER)) as client:
        answer = await client.ask("subscribe", {"instruments": ["NSE:RELIANCE", "NSE:NONE"]})
        assert answer == {
            "ok": True,
            "accepted": ["NSE:RELIANCE"],
            "refused": [
                {
                    "instrument": "NSE:NONE",
                    "code": "INSTRUMENT_UNKNOWN",
                    "detail": "There is no such instrument.",
                }
            ],
        }
        snapshot = (await eventually(lambda: client.of("snapshot")))[0]
        assert snapshot == [
            {
                "instrument": "NSE:RELIANCE",
                "ltp": 2451.30,
                "stale": False,
                "bid": 2451.25,
                "bid_quantity": 10,
                "ask": 2451.35,
                "ask_quantity": 20,
                "volume": 1234567,
                "last_quantity": 0,
                "open": None,
                "high": None,
                "low": None,
                "previous_close": 2440.00,
                "timestamp": rfc3339(int(first["time_ns"][0])),
            }
        ]
        second = a_tick(RELIANCE.token, ltp=245140, volume=1_234_568)
        await publish(redis, second)
        assert (await eventually(lambda: client.of("ticks")))[0] == [
            {
                "instrument": "NSE:RELIANCE",
                "ltp": 2451.40,
                "volume": 1234568,
                "timestamp": rfc3339(int(second["time_ns"][0])),
            }
        ]


async def test_each_mode_has_its_fields(gateway: GatewayProcess, redis: Redis) -> None:
    await publish(redis, a_tick(INFY.token))
    async with plain(gateway) as client:
        await client.ask("auth", token=a_token(gateway.settings, USER))
        fields = []
        for number, mode in enumerate(("ltp", "quote", "full")):
            assert (await client.ask("subscribe", instruments=["NSE:INFY"], mode=mode))["ok"]
            await eventually(lambda number=number: len(client.of("snapshot")) > number)  # type: ignore[misc]
            fields.append(set(client.of("snapshot")[number]["snapshot"][0]))
        assert fields[0] == {"instrument", "ltp", "previous_close", "stale", "timestamp"}
        assert fields[0] < fields[1] < fields[2]
        assert client.of("snapshot")[2]["snapshot"][0]["asks"] == [[2451.35, 20]]
        assert (await client.ask("subscribe", instruments=["NSE:INFY"], mode="all"))[
            "code"
        ] == "MESSAGE_INVALID"


async def test_an_instrument_of_which_there_is_no_tick_yet_is_told_whole_by_its_first(
    added: GatewayProcess, redis: Redis
) -> None:
    instrument = list(MASTER.values())[-1]
    await redis.delete(latest(group_of("NSE", instrument.token)))
    async with socket_io(added, a_token(added.settings, USER)) as client:
        await client.ask("subscribe", {"instruments": [instrument.instrument_id]})
        await eventually(lambda: client.of("snapshot") == [[]])
        await publish(redis, a_tick(instrument.token, volume=0))
        tick = (await eventually(lambda: client.of("ticks")))[0][0]
        assert (tick["volume"], tick["stale"]) == (0, False)


@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket"), ("polling",)])
async def test_every_client_ends_with_the_last_values_and_is_told_at_most_four_times_a_second(
    gateway: GatewayProcess, redis: Redis, transports: tuple[str, ...]
) -> None:
    rng = random.Random(7)
    token = a_token(gateway.settings, USER)
    by_token = {i.token: i.instrument_id for i in BUSY}
    last: dict[str, Ticks] = {}
    async with socket_io(gateway, token, *transports) as client, plain(gateway) as frames:
        await frames.ask("auth", token=token)
        for number, instrument in enumerate(BUSY):
            mode = ("ltp", "quote", "full")[number % 3]
            assert (await client.ask("subscribe", {"instruments": [instrument.instrument_id], "mode": mode}))[
                "ok"
            ]
        everything = [i.instrument_id for i in BUSY]
        assert (await frames.ask("subscribe", instruments=everything, mode="full"))["accepted"] == everything
        began = time.monotonic()
        while time.monotonic() - began < 2:
            rows = [
                a_tick(i.token, ltp=rng.randrange(1, 10**7), volume=rng.randrange(10**9))
                for i in rng.sample(BUSY, 20)
            ]
            last |= {by_token[int(row["token"][0])]: row for row in rows}
            await publish(redis, *rows)
            await asyncio.sleep(0.01)
        took = time.monotonic() - began

        def is_up_to_date(told: Told) -> bool:
            return ltps(told) == expected(last)

        for told in (client, frames):
            await eventually(partial(is_up_to_date, told))
            pushes = Counter(e["instrument"] for event, e in elements(told) if event == "ticks")
            assert max(pushes.values()) <= 4 * (took + 1) + 1
        volumes = {name: known.get("volume") for name, known in state(frames).items()}
        assert volumes == {name: int(row["volume"][0]) for name, row in last.items()}


def ltps(told: Told) -> dict[str, float]:
    return {name: known["ltp"] for name, known in state(told).items()}


def expected(last: dict[str, Ticks]) -> dict[str, float]:
    return {name: float(rupees(int(row["ltp"][0]))) for name, row in last.items()}


async def test_after_unsubscribing_nothing_comes_and_the_group_is_not_taken_from_the_bus(
    gateway: GatewayProcess, redis: Redis
) -> None:
    async def gateways() -> int:
        group = channel(group_of("NSE", TCS.token))
        found: Any = await redis.execute_command("PUBSUB", "SHARDNUMSUB", group)  # type: ignore[no-untyped-call]
        return int(found[1])

    async def is_taken_by(number: int) -> bool:
        """A client of a test before this one may still be leaving."""
        return await gateways() == number

    async with plain(gateway) as client:
        await client.ask("auth", token=a_token(gateway.settings, USER))
        await publish(redis, a_tick(TCS.token))
        await eventually(lambda: is_taken_by(0))
        await client.ask("subscribe", instruments=["NSE:TCS"])
        await eventually(lambda: client.of("snapshot"))
        assert await gateways() == 1
        answer = await client.ask("unsubscribe", instruments=["NSE:TCS", "NSE:INFY"])
        assert answer["accepted"] == ["NSE:TCS"]
        assert [(r["instrument"], r["code"]) for r in answer["refused"]] == [("NSE:INFY", "NOT_SUBSCRIBED")]
        await eventually(lambda: is_zero(gateways))
        await publish(redis, a_tick(TCS.token, ltp=1))
        beats = len(client.of("heartbeat"))
        # Two heartbeats are longer apart than two pushes.
        await eventually(lambda: len(client.of("heartbeat")) >= beats + 2)
        assert client.of("ticks") == []


async def is_zero(ask: Any) -> bool:
    return bool(await ask() == 0)


async def test_a_heartbeat_says_that_the_connection_lives(gateway: GatewayProcess, redis: Redis) -> None:
    async with socket_io(gateway, a_token(gateway.settings, USER)) as client:
        session = (await eventually(lambda: client.of("session")))[0]
        await eventually(lambda: [beat["seq"] for beat in client.of("heartbeat")][-1:] == [session["seq"]])
