"""What a stranger may cost the server: a request in bytes and seconds, connections in all and by address."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from config.settings import Settings
from domain.problem_documents import EVERY_ANSWER
from realtime.websocket.connection import WebSocketConnection
from realtime.websocket.connections import WebSocketConnections
from stack import probes
from tests.support.edge import start, until
from tests.support.serving import Answer, Echo, Stranger, served
from workers.http_limits import Connections, HttpLimits
from workers.serving import LOOK_SECONDS

LIMITS = HttpLimits(
    connections=12, connections_per_address=8, head_seconds=0.4, body_seconds=0.4, idle_seconds=0.4
)
PATIENT = replace(LIMITS, head_seconds=60, body_seconds=60, idle_seconds=60)
GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def echo() -> Echo:
    echo = Echo()
    echo.may_answer.set()
    return echo


@pytest.fixture
async def hasty(echo: Echo, redis: Redis) -> AsyncIterator[int]:
    async with served(echo, redis, LIMITS) as port:
        yield port


@pytest.fixture
async def patient(echo: Echo, redis: Redis) -> AsyncIterator[int]:
    async with served(echo, redis, PATIENT) as port:
        yield port


def assert_problem(answer: Answer, status: int, code: str) -> None:
    document = answer.document
    assert (answer.status, document["status"], document["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-trace-id"] == document["trace_id"]
    assert answer.headers["connection"] == "close"
    for name, value in EVERY_ANSWER.items():
        assert answer.headers[name.lower()] == value


def resident() -> int:
    """Bytes of this process, in which the server runs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def test_sixty_megabytes_of_headers_cost_no_more_than_the_bound(patient: int) -> None:
    """At 540 MB for one connection, ten strangers took the machine."""
    stranger = await Stranger.at(patient)
    before = resident()
    stranger.say(b"GET / HTTP/1.1\r\n")
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 90) for number in range(1_000))
    written = 0
    try:
        for _ in range(600):
            stranger.say(lines)
            await stranger.writer.drain()
            written += len(lines)
    except ConnectionError:
        pass
    assert written < 10_000_000
    assert resident() - before < 20_000_000


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n", 1),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 17_000, 1),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: 1\r\n" % n for n in range(2_500)), 20),
        (b"GET / HTTP/1.1\r\n" + b"a" * 17_000, 20),
        (b"\r\n" * 9_000, 9),
        (GET % b"/first" + b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000, 3),
    ],
    ids=["path", "header", "header without end", "many headers", "a name", "empty lines", "of the second"],
)
async def test_a_head_has_at_most_sixteen_kibibytes(patient: int, head: bytes, parts: int) -> None:
    stranger = await Stranger.at(patient)
    size = -(-len(head) // parts)
    for at in range(0, len(head), size):
        stranger.say(head[at : at + size])
        await asyncio.sleep(0.01)
    if b"/first" in head:
        assert (await stranger.answer()).status == 200
    assert_problem(await stranger.answer(), 431, "HEAD_TOO_LARGE")
    assert await stranger.is_ended()


async def test_a_head_below_it_is_served(patient: int) -> None:
    stranger = await Stranger.at(patient)
    stranger.say(b"GET / HTTP/1.1\r\nX: " + b"a" * 16_000 + b"\r\n\r\n")
    assert (await stranger.answer()).status == 200


@pytest.mark.parametrize(
    "body",
    [
        POST % (b"/", 10**9) + b"x" * 70_000,
        CHUNKED + b"8000\r\n" + b"x" * 0x8000 + b"\r\n8000\r\n" + b"x" * 0x8000 + b"\r\n1\r\nx",
        CHUNKED + b"1\r\nx\r\n" * 20_000,
        CHUNKED + b"1;" + b"e" * 90_000,
        CHUNKED + b"0\r\nX: " + b"t" * 90_000,
    ],
    ids=["length", "chunks", "small chunks", "chunk extension", "trailer"],
)
async def test_a_body_is_bounded_however_it_is_sent(patient: int, echo: Echo, body: bytes) -> None:
    stranger = await Stranger.at(patient)
    stranger.say(body)
    answer = await stranger.answer()
    assert answer.status in (413, 431)
    assert_problem(answer, answer.status, answer.document["code"])
    assert await stranger.is_ended()
    assert echo.gone == ["/"]


@pytest.mark.parametrize(
    "part",
    [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", POST % (b"/", 10) + b"half", CHUNKED + b"1\r\n"],
)
async def test_a_request_comes_to_its_end_in_time(hasty: int, part: bytes) -> None:
    """A byte now and then keeps no connection."""
    stranger = await Stranger.at(hasty)
    stranger.say(part)
    assert_problem(await stranger.answer(), 408, "REQUEST_TIMEOUT")
    assert await stranger.is_ended()


async def test_a_byte_at_a_time_is_no_progress(hasty: int) -> None:
    stranger = await Stranger.at(hasty)

    async def trickle() -> None:
        for byte in GET % (b"/" + b"a" * 2_000):
            stranger.say(bytes([byte]))
            await asyncio.sleep(LIMITS.head_seconds / 10)

    trickling = asyncio.create_task(trickle())
    assert_problem(await stranger.answer(), 408, "REQUEST_TIMEOUT")
    trickling.cancel()


@pytest.mark.parametrize(
    "said", [b"", GET % b"/", POST % (b"/", 4) + b"body"], ids=["nothing", "get", "post"]
)
async def test_a_connection_at_rest_is_closed_without_a_word(hasty: int, said: bytes) -> None:
    stranger = await Stranger.at(hasty)
    stranger.say(said)
    if said:
        assert (await stranger.answer()).status == 200
    assert await stranger.is_ended()


async def test_one_that_was_answered_before_its_body_came_rests_too(redis: Redis) -> None:
    async def hasty_app(scope: object, receive: object, send: object) -> None:
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async with served(hasty_app, redis, LIMITS) as port:
        stranger = await Stranger.at(port)
        stranger.say(POST % (b"/", 4) + b"bo")
        assert (await stranger.answer()).status == 401
        stranger.say(b"dy")
        assert await stranger.is_ended()
        unfinished = await Stranger.at(port)
        unfinished.say(POST % (b"/", 4) + b"bo")
        assert (await unfinished.answer()).status == 401
        assert await unfinished.is_ended()


async def test_a_slow_application_is_no_fault_of_its_client(hasty: int, echo: Echo) -> None:
    echo.may_answer.clear()
    stranger = await Stranger.at(hasty)
    stranger.say(POST % (b"/", 4) + b"body")
    await asyncio.sleep(LIMITS.head_seconds + 3 * LOOK_SECONDS)
    echo.may_answer.set()
    assert (await stranger.answer()).document == ["/", 4, "127.0.0.1"]


@pytest.mark.parametrize(
    "second",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * 20_000,
        POST % (b"/", 9) + b"x",
        POST % (b"/", 10**6),
    ],
    ids=["no http", "large head", "slow body", "large body"],
)
async def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(
    hasty: int, echo: Echo, second: bytes
) -> None:
    """Whoever pipelines an order must not read in a 4xx that it was not placed."""
    echo.may_answer.clear()
    stranger = await Stranger.at(hasty)
    stranger.say(POST % (b"/order", 4) + b"body" + second)
    if second.endswith(b"%d\r\n\r\n" % 10**6):
        stranger.say(b"x" * 90_000)
    await asyncio.sleep(LIMITS.head_seconds + 3 * LOOK_SECONDS)
    echo.may_answer.set()
    assert (await stranger.answer()).document == ["/order", 4, "127.0.0.1"]
    assert await stranger.is_ended()


async def test_requests_that_wait_for_answers_are_counted(patient: int, echo: Echo) -> None:
    echo.may_answer.clear()
    stranger = await Stranger.at(patient)
    stranger.say(b"".join(GET % (b"/%d" % number) for number in range(2_000)))
    await asyncio.sleep(0.1)
    echo.may_answer.set()
    assert (await stranger.answer()).document[0] == "/0"
    assert await stranger.is_ended()


async def test_a_few_that_wait_are_answered_in_their_order(patient: int) -> None:
    stranger = await Stranger.at(patient)
    stranger.say(b"".join(POST % (b"/%d" % number, 2) + b"ab" for number in range(20)))
    for number in range(20):
        assert (await stranger.answer()).document == [f"/{number}", 2, "127.0.0.1"]


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501, "METHOD_NOT_IMPLEMENTED"),
        (b"BREW / HTTP/1.1\r\n\r\n", 501, "METHOD_NOT_IMPLEMENTED"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", 400, "BAD_REQUEST"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
        (POST.replace(b"%b", b"/").replace(b"%d", b"-1"), 400, "BAD_REQUEST"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "BAD_REQUEST"),
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), 400, "BAD_REQUEST"),
        (CHUNKED + b"zz\r\n", 400, "BAD_REQUEST"),
        (CHUNKED + b"1\r\nab\r\n", 400, "BAD_REQUEST"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "BAD_REQUEST"),
    ],
)
async def test_what_is_no_http_is_a_problem_too(patient: int, said: bytes, status: int, code: str) -> None:
    stranger = await Stranger.at(patient)
    stranger.say(said)
    assert_problem(await stranger.answer(), status, code)
    assert await stranger.is_ended()


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
async def test_a_protocol_that_is_not_spoken_is_answered_in_http(patient: int, upgrade: bytes) -> None:
    stranger = await Stranger.at(patient)
    asked = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    stranger.say((GET % b"/").replace(b"\r\n\r\n", b"\r\n" + asked + b"\r\n"))
    assert (await stranger.answer()).status == 200
    assert await stranger.is_ended()


async def test_an_address_has_so_many_connections_and_gets_them_back(patient: int) -> None:
    crowd = [await Stranger.at(patient) for _ in range(LIMITS.connections_per_address)]
    one_more = await Stranger.at(patient)
    answer = await one_more.answer()
    assert_problem(answer, 429, "TOO_MANY_CONNECTIONS")
    assert answer.headers["retry-after"] == "1" and answer.document["retryable"]
    for stranger in crowd:
        stranger.say(GET % b"/")
        assert (await stranger.answer()).status == 200
    crowd[0].leave()
    for _ in range(100):
        await asyncio.sleep(0.02)
        again = await Stranger.at(patient)
        again.say(GET % b"/")
        if (await again.answer()).status == 200:
            break
    else:
        pytest.fail("the place was never given back")


async def test_the_server_has_so_many_in_all(echo: Echo, redis: Redis) -> None:
    limits = replace(PATIENT, connections=6, connections_per_address=100, turned_away=2)
    async with served(echo, redis, limits) as port:
        crowd = [await Stranger.at(port) for _ in range(6)]
        for stranger in crowd:
            stranger.say(GET % b"/")
            assert (await stranger.answer()).status == 200
        told = [await Stranger.at(port) for _ in range(2)]
        for stranger in told:
            assert_problem(await stranger.answer(), 503, "TOO_MANY_CONNECTIONS")
        # Those who are told hold a connection as well: more than a few are cut.
        cut = await Stranger.at(port)
        assert await cut.is_ended()


async def test_behind_a_proxy_the_address_is_that_of_whom_it_speaks_for(echo: Echo, redis: Redis) -> None:
    limits = replace(PATIENT, connections=100, connections_per_address=2)
    async with served(echo, redis, limits, ["127.0.0.1"]) as port:
        lines = [await Stranger.at(port) for _ in range(6)]
        echo.may_answer.clear()
        for line, last in zip(lines, (1, 1, 1, 2, 2, 3), strict=True):
            forwarded = b"X-Forwarded-For: 203.0.113.%d\r\n\r\n" % last
            line.say((GET % b"/").replace(b"\r\n\r\n", b"\r\n" + forwarded))
            await asyncio.sleep(0.02)
        assert_problem(await lines[2].answer(), 429, "TOO_MANY_CONNECTIONS")
        echo.may_answer.set()
        for place, last in ((0, 1), (1, 1), (3, 2), (4, 2), (5, 3)):
            assert (await lines[place].answer()).document[2] == f"203.0.113.{last}"
        for _ in range(5):
            # Served is given back: the proxy's connection speaks for whomever it likes next.
            lines[0].say((GET % b"/").replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"))
            assert (await lines[0].answer()).status == 200


async def test_an_unread_answer_is_not_kept_for_ever(redis: Redis) -> None:
    async def large(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"x" * 20_000_000})  # type: ignore[operator]

    async with served(large, redis, replace(PATIENT, answer_seconds=0.4)) as port:
        stranger = await Stranger.at(port)
        stranger.writer.transport.pause_reading()  # type: ignore[attr-defined]
        stranger.say(GET % b"/")
        await asyncio.sleep(0.4 + 4 * LOOK_SECONDS)
        stranger.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await stranger.reader.readexactly(20_000_000)


async def test_a_bug_below_every_handler_is_a_problem_too(redis: Redis) -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise ZeroDivisionError

    async with served(broken, redis, PATIENT) as port:
        stranger = await Stranger.at(port)
        stranger.say(GET % b"/")
        assert_problem(await stranger.answer(), 500, "INTERNAL_ERROR")
        assert await stranger.is_ended()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_address_is_what_one_client_has(one: str, other: str, same: bool) -> None:
    known = Connections(replace(LIMITS, connections_per_address=1))
    first = known.enter(one)
    assert first is not None
    assert (known.enter(other) is None) is same
    known.leave(first)
    assert known.enter(one) is not None


async def test_a_websocket_counts_until_it_ends(echo: Echo, redis: Redis) -> None:
    class Silent:
        ping = b""

        async def follow(self, message: str | bytes) -> None: ...

        async def gone(self) -> None: ...

    async def asked(line: WebSocketConnection, path: str, query: str) -> None:
        line.accept(Silent())

    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    limits = replace(PATIENT, connections_per_address=3)
    async with served(
        echo, redis, limits, ws=partial(WebSocketConnection, WebSocketConnections(asked))
    ) as port:
        for _ in range(4):
            crowd = [await Stranger.at(port) for _ in range(3)]
            for stranger in crowd:
                stranger.say(handshake)
                assert (await stranger.answer()).status == 101
            assert_problem(await (await Stranger.at(port)).answer(), 429, "TOO_MANY_CONNECTIONS")
            for stranger in crowd:
                stranger.leave()
                await stranger.writer.wait_closed()
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(("process", "port"), [("api", "api"), ("realtime", "stream")], ids=["api", "stream"])
async def test_both_servers_have_these_limits(servers: Settings, process: str, port: str) -> None:
    program = f"from workers.{process} import main; main()"
    # Beside whatever else the run has at the usual port.
    ours = servers.model_copy(update={f"{port}_port": getattr(servers, f"{port}_port") + 7})
    number = ours.port(port)
    running = start(
        ours, program, connections_per_address="3", **{f"{port}_port": str(number - ours.port_offset)}
    )
    try:
        await asyncio.to_thread(until, lambda: probes.accepts(servers.host, number))
        await asyncio.sleep(0.2)
        crowd = [await Stranger.at(number) for _ in range(3)]
        assert_problem(await (await Stranger.at(number)).answer(), 429, "TOO_MANY_CONNECTIONS")
        for stranger, said, status in zip(
            crowd,
            (b"BREW / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 20_000, POST % (b"/x", 10**6)),
            (501, 431, 413),
            strict=True,
        ):
            stranger.say(said)
            if status == 413:
                stranger.say(b"x" * 100_000)
            answer = await stranger.answer()
            assert answer.document["status"] == answer.status and answer.status in (status, 404, 411)
            assert answer.headers["content-type"] == "application/problem+json"
    finally:
        running.terminate()
        await asyncio.to_thread(running.wait, 20)
