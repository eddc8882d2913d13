"""Order updates reach their user's sockets: all of them, in order, and nobody else's."""

import asyncio
from itertools import count
from typing import Any

import aiohttp
import msgspec
import pytest
import socketio
from redis.asyncio import Redis

from bus import order_updates
from realtime.stream.record_queries import HEAL_SECONDS
from tests.support.eventually import eventually
from tests.support.stream import STREAM, GatewayProcess, a_token, an_update, plain, socket_io

_users = count(7_000_000)


@pytest.fixture
def user() -> int:
    return next(_users)


async def publish(redis: Redis, user_id: int, *seqs: int) -> None:
    await order_updates.publish(redis, [an_update(user_id, seq) for seq in seqs])


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_updates_arrive_in_order_on_every_transport(
    gateway: GatewayProcess, redis: Redis, user: int, transports: tuple[str, ...]
) -> None:
    await publish(redis, user, 1, 2)
    async with socket_io(gateway, a_token(gateway.settings, user), *transports) as client:
        session = (await eventually(lambda: client.of("session")))[0]
        assert (session["client_id"], session["seq"]) == (f"TEST{user}", 2)
        # At once: a poll is answered with no more packets than the stock client takes.
        await publish(redis, user, *range(3, 103))
        await eventually(lambda: len(client.seqs) == 100)
        assert client.seqs == list(range(3, 103))
        assert client.of("order_update")[0] == an_update(user, 3).body


@pytest.mark.parametrize("haste", [True, False])
async def test_changing_over_from_polls_loses_and_doubles_nothing(
    gateway: GatewayProcess, redis: Redis, user: int, haste: bool
) -> None:
    async with aiohttp.ClientSession() as http:
        path = f"{gateway.url}{STREAM}/?EIO=4"
        opened = await (await http.get(f"{path}&transport=polling")).text()
        session = f"&sid={msgspec.json.decode(opened.removeprefix('0'))['sid']}"
        polls = f"{path}&transport=polling{session}"
        await http.post(polls, data=b"40" + msgspec.json.encode({"token": a_token(gateway.settings, user)}))
        heard = ""
        while '"session"' not in heard:
            heard += await (await http.get(polls)).text()
        poll = asyncio.create_task(http.get(polls))
        publishing = asyncio.create_task(one_by_one(redis, user, range(1, 201)))
        async with http.ws_connect(f"{path}&transport=websocket{session}") as websocket:
            await websocket.send_str("2probe")
            if not haste:
                assert await websocket.receive_str() == "3probe"
                heard += await (await poll).text()
            await websocket.send_str("5")
            heard += await (await poll).text() if haste else ""
            while '"seq":200,' not in heard:
                heard += await websocket.receive_str(timeout=10)
        await publishing
    seqs = [
        int(part.split(",")[0]) for part in heard.split('"order_update",{"type":"order_update","seq":')[1:]
    ]
    assert seqs == list(range(1, 201))


async def one_by_one(redis: Redis, user: int, seqs: range) -> None:
    for seq in seqs:
        await publish(redis, user, seq)


async def test_a_websocket_of_no_session_is_refused_over_http(gateway: GatewayProcess) -> None:
    async with aiohttp.ClientSession() as http:
        for query in ("EIO=4&transport=websocket&sid=nobody", "EIO=3&transport=websocket", "EIO=4"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{gateway.url}{STREAM}/?{query}")
            assert refused.value.status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{gateway.url}/elsewhere")
        assert refused.value.status == 404


async def test_a_polling_client_that_says_goodbye_is_not_kept_waiting(
    gateway: GatewayProcess, user: int
) -> None:
    async with aiohttp.ClientSession() as http:
        path = f"{gateway.url}{STREAM}/?EIO=4&transport=polling"
        opened = await (await http.get(path)).text()
        path += f"&sid={msgspec.json.decode(opened.removeprefix('0'))['sid']}"
        await http.post(path, data=b"40" + msgspec.json.encode({"token": a_token(gateway.settings, user)}))
        while '"heartbeat"' not in await (await http.get(path)).text():
            """The next one is some time away."""
        poll = asyncio.create_task(http.get(path))
        await asyncio.sleep(0.1)
        await http.post(path, data=b"1")
        async with asyncio.timeout(1):
            heard = (await (await poll).text()).split("\x1e")
        assert heard[-1] == "6", "a NOOP, which is no message"


async def test_a_users_updates_reach_each_of_his_sockets_and_nobody_elses(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    other = next(_users)
    token, others = (a_token(gateway.settings, who) for who in (user, other))
    await publish(redis, user, 1)
    await publish(redis, other, 1)
    async with (
        socket_io(gateway, token) as one,
        socket_io(gateway, token) as two,
        socket_io(gateway, others) as stranger,
        plain(gateway) as frames,
    ):
        assert (await frames.ask("auth", token=token))["ok"]
        for client in (one, two, stranger, frames):
            await eventually(lambda client=client: client.of("session"))  # type: ignore[misc]
        await publish(redis, user, 2, 3, 4)
        await publish(redis, other, 2)
        for client in (one, two, frames):
            await eventually(lambda client=client: client.seqs == [2, 3, 4])  # type: ignore[misc]
        await eventually(lambda: stranger.of("order_update") == [an_update(other, 2).body])


async def test_updates_published_out_of_order_or_twice_arrive_once_and_in_order(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    await publish(redis, user, 1)
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(lambda: client.of("session"))
        await publish(redis, user, 3, 2, 2, 5, 3)
        await publish(redis, user, 4)
        await eventually(lambda: client.seqs == [2, 3, 4, 5])
        assert client.of("gap") == []


async def test_an_update_in_the_tail_that_was_never_published_is_read_from_there(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    await publish(redis, user, 1)
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(lambda: client.of("session"))
        await redis.zadd(order_updates.tail(user), {msgspec.json.encode(an_update(user, 2).body): 2})
        await publish(redis, user, 3)
        await eventually(lambda: client.seqs == [2, 3], within=HEAL_SECONDS)


async def test_an_update_that_nobody_can_give_is_announced_as_a_gap(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    await publish(redis, user, 1)
    async with socket_io(gateway, a_token(gateway.settings, user)) as client:
        await eventually(lambda: client.of("session"))
        await publish(redis, user, 5)
        await eventually(lambda: client.seqs == [5], within=HEAL_SECONDS + 3)
        assert client.of("gap") == [{"type": "gap", "from_seq": 2, "to_seq": 4}]
        assert [event for event, _ in client.all if event != "heartbeat"][-2:] == ["gap", "order_update"]


async def test_a_client_that_comes_back_with_its_cursor_misses_nothing(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    token = a_token(gateway.settings, user)
    await publish(redis, user, *range(1, 11))
    async with socket_io(gateway, token, after_seq=4) as client:
        await publish(redis, user, 11)
        await eventually(lambda: client.seqs == list(range(5, 12)))
    async with plain(gateway) as frames:
        await frames.ask("auth", token=token, after_seq=9)
        await eventually(lambda: frames.seqs == [10, 11])


async def test_resume_sends_again_what_came_after_the_cursor_and_goes_on_live(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    await publish(redis, user, *range(1, 6))
    async with socket_io(gateway, a_token(gateway.settings, user)) as client, plain(gateway) as frames:
        await frames.ask("auth", token=a_token(gateway.settings, user))
        assert await client.ask("resume", {"after_seq": 2}) == {"ok": True, "seq": 5}
        assert (await frames.ask("resume", after_seq=2))["seq"] == 5
        await publish(redis, user, 6)
        for told in (client, frames):
            await eventually(lambda told=told: told.seqs == [3, 4, 5, 6])  # type: ignore[misc]


async def test_a_cursor_older_than_what_is_kept_is_told_of_the_gap(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    newest = order_updates.KEPT_UPDATES + 10
    await publish(redis, user, *range(1, newest + 1))
    async with socket_io(gateway, a_token(gateway.settings, user), after_seq=3) as client:
        await eventually(lambda: len(client.seqs) == order_updates.KEPT_UPDATES)
        assert client.of("gap") == [{"type": "gap", "from_seq": 4, "to_seq": 10}]
        assert client.seqs == list(range(11, newest + 1))


async def test_updates_during_a_resume_come_once_and_in_their_place(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    await publish(redis, user, *range(1, 101))
    async with socket_io(gateway, a_token(gateway.settings, user), after_seq=100) as client:
        await eventually(lambda: client.of("session"))
        publishing = asyncio.create_task(publish(redis, user, *range(101, 301)))
        last = (await client.ask("resume", {"after_seq": 50}))["seq"]
        await publishing
        await eventually(lambda: client.seqs[-1:] == [300])
        replayed = client.seqs.index(51)
        assert client.seqs[:replayed] == list(range(101, 101 + replayed))
        assert client.seqs[replayed:] == list(range(51, 301))
        assert last >= 100


@pytest.mark.parametrize(
    "auth", [None, {}, {"token": "x.y.z"}, {"token": 7}, "token", {"token": "x", "after_seq": -1}]
)
async def test_without_a_valid_token_nobody_is_let_in(gateway: GatewayProcess, auth: object) -> None:
    client = socketio.AsyncClient(reconnection=False)
    told: list[object] = []
    client.on("connect_error", told.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(gateway.url, auth=auth, socketio_path="/api/v1/stream", wait_timeout=5)
    await client.shutdown()
    assert told
    async with plain(gateway) as frames:
        said = auth if isinstance(auth, dict) else {}
        assert (await frames.ask("auth", **said))["code"] in ("TOKEN_REFUSED", "MESSAGE_INVALID")
        await eventually(lambda: frames.websocket.closed)
        assert frames.websocket.close_code == 1008


async def test_an_expired_session_is_told_so_and_ended(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    token = a_token(gateway.settings, user, expires_in=2)
    async with socket_io(gateway, token) as client, plain(gateway) as frames:
        assert (await frames.ask("auth", token=token))["ok"]
        for told in (client, frames):
            await eventually(lambda told=told: told.of("closing"))  # type: ignore[misc]
            assert told.all[-1][1]["code"] == "SESSION_EXPIRED"
        await eventually(lambda: client.reasons == ["server disconnect"] and frames.websocket.closed)
        assert not client.sio.connected


async def test_a_gateway_takes_only_the_channels_of_connected_users(
    gateway: GatewayProcess, redis: Redis, user: int
) -> None:
    async def subscribers_are(number: int) -> bool:
        found: Any = await redis.pubsub_numsub(order_updates.channel(user))
        return bool(found[0][1] == number)

    assert await subscribers_are(0)
    async with socket_io(gateway, a_token(gateway.settings, user)):
        await eventually(lambda: subscribers_are(1))
    await eventually(lambda: subscribers_are(0))
