"""What Engine.IO and Socket.IO let a client say is followed, or refused with an answer."""

import asyncio
import json
from itertools import count

import pytest
from redis.asyncio import Redis
from websockets.frames import CloseCode, Opcode

from bus.ticks import channel, group_of
from exchange.files.master import read_master
from tests.support.eventually import eventually
from tests.support.raw_stream import PollingClient, client_frame, goodbye, polling, raw_websocket
from tests.support.stream import STREAM, GatewayProcess, a_token

WEBSOCKET = f"{STREAM}/?EIO=4&transport=websocket"
WATCHED = next(i for i in read_master("NSE").values() if i.instrument_id == "NSE:ITC")
UNKNOWN = [f"?{number}" for number in range(3000)]
MUCH = f"42{json.dumps(['subscribe', {'instruments': [0] * 3000}])}"
"""It is refused in a word, and counts as much as a subscription to three thousand instruments."""
_users = count(7_600_000)


def subscribe(number: int, instruments: list[str]) -> str:
    return f"42{number}{json.dumps(['subscribe', {'instruments': instruments}])}"


async def test_a_body_of_many_messages_is_followed_to_its_end(gateway: GatewayProcess) -> None:
    async with polling(gateway) as client:
        await client.sign_in(a_token(gateway.settings, next(_users)))
        asked = range(100, 150)
        assert await client.post(*(subscribe(number, ["?"]) for number in asked)) == (200, "ok")
        missing = {f"43{number}" for number in asked}

        async def are_answered() -> bool:
            missing.difference_update(packet[:5] for packet in await client.poll())
            return not missing

        await eventually(are_answered)


async def test_a_body_of_more_packets_than_anyone_sends_is_refused_with_an_answer(
    gateway: GatewayProcess,
) -> None:
    async with polling(gateway) as client:
        status, body = await client.post(*["3"] * 20_000)
        assert (status, json.loads(body)["code"]) == (400, "TOO_MANY_PACKETS")
        assert (await client.post("3"))[0] == 400, "its session has ended"


NEVER_SAID = [
    ("2", "FRAME_INVALID"),
    ("6", "FRAME_INVALID"),
    ('0{"sid":"x"}', "FRAME_INVALID"),
    ("9", "FRAME_INVALID"),
    ("4[1]", "FRAME_INVALID"),
    ("42[", "FRAME_INVALID"),
    ('451-["x",{"_placeholder":true,"num":0}]', "BINARY_REFUSED"),
    ('461-7[{"_placeholder":true,"num":0}]', "BINARY_REFUSED"),
    ('4\N{ARABIC-INDIC DIGIT FIVE}1-["x",{"_placeholder":true,"num":0}]', "FRAME_INVALID"),
    ("bAAECAw==", "BINARY_REFUSED"),
]


@pytest.mark.parametrize(("packet", "code"), NEVER_SAID)
async def test_what_no_client_says_ends_its_session_with_a_reason(
    gateway: GatewayProcess, packet: str, code: str
) -> None:
    async with polling(gateway) as client, raw_websocket(gateway, WEBSOCKET) as (reader, writer):
        polled = asyncio.create_task(client.poll())
        await asyncio.sleep(0.1)
        status, body = await client.post(packet)
        assert (status, json.loads(body)["code"]) == (400, code)
        reason = json.loads((await polled)[0].removeprefix("44"))
        assert reason["data"]["code"] == code
        assert (await client.post("3"))[0] == 400, "its session has ended"
        writer.write(client_frame(Opcode.TEXT, packet.encode()))
        assert await asyncio.wait_for(goodbye(reader), 10) == (CloseCode.POLICY_VIOLATION, code)


async def test_binary_frames_are_refused(gateway: GatewayProcess) -> None:
    async with raw_websocket(gateway, WEBSOCKET) as (reader, writer):
        token = json.dumps({"token": a_token(gateway.settings, next(_users))})
        writer.write(client_frame(Opcode.TEXT, f"40{token}".encode()))
        for _ in range(3):
            writer.write(client_frame(Opcode.BINARY, b"x" * 60_000))
        assert await asyncio.wait_for(goodbye(reader), 10) == (CloseCode.POLICY_VIOLATION, "BINARY_REFUSED")


async def test_a_polling_client_that_takes_none_of_its_answers_is_cut_off(gateway: GatewayProcess) -> None:
    async with polling(gateway) as client:
        await client.sign_in(a_token(gateway.settings, next(_users)))
        told = [await client.post(subscribe(number, UNKNOWN)) for number in range(7)]
        assert [status for status, _ in told[:3]] == [200] * 3
        assert told[-1][0] == 400, "a megabyte of answers waits for it"


async def watching(redis: Redis) -> int:
    """Gateways that take the group of WATCHED from the bus."""
    group = channel(group_of("NSE", WATCHED.token))
    found = await redis.execute_command("PUBSUB", "SHARDNUMSUB", group)  # type: ignore[no-untyped-call]
    return int(found[1])


async def has_said_much(client: PollingClient) -> "asyncio.Task[tuple[int, str]]":
    """So much that its next message, a subscription, waits for the pace; its POST."""
    for _ in range(7):
        assert await client.post(MUCH) == (200, "ok")
    waiting = asyncio.create_task(client.post(MUCH, subscribe(9, [WATCHED.instrument_id])))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    return waiting


async def test_a_polling_client_that_leaves_while_its_message_waits_is_not_subscribed(
    gateway: GatewayProcess, redis: Redis
) -> None:
    await eventually(lambda: nobody_watches(redis))
    async with polling(gateway) as client:
        await client.sign_in(a_token(gateway.settings, next(_users)))
        waiting = await has_said_much(client)
        assert await client.post("41", "1") == (200, "ok")
        status, body = await waiting
        assert (status, json.loads(body)["code"]) == (400, "SESSION_ENDED")
        for _ in range(10):
            assert await watching(redis) == 0
            await asyncio.sleep(0.1)


async def test_a_polling_client_whose_session_ends_while_its_message_waits_is_not_subscribed(
    gateway: GatewayProcess, redis: Redis
) -> None:
    await eventually(lambda: nobody_watches(redis))
    async with polling(gateway) as client:
        await client.sign_in(a_token(gateway.settings, next(_users), expires_in=3))
        waiting = await has_said_much(client)
        await waiting
        await eventually(lambda: has_ended(client))
        for _ in range(10):
            assert await watching(redis) == 0
            await asyncio.sleep(0.1)


async def nobody_watches(redis: Redis) -> bool:
    return await watching(redis) == 0


async def has_ended(client: PollingClient) -> bool:
    return (await client.get())[0] == 400
