"""An HTTP load in a process of its own: raw HTTP/1.1 on kept connections, requests of parts made before.

Closed loop: so many connections, each asks again when it is answered. Open loop: requests are due at fixed
instants whatever becomes of the others, and a latency counts from the instant, so that a stall shows. Stamps
are nanoseconds of the wall clock, to stand beside other processes' stamps of the same machine.
"""

import asyncio
import json
import os
import re
import selectors
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from typing import NamedTuple

from benchmarks import cpu
from domain.time import NANOS
from stack.errors import StackError

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_first_numbers = count(0, 1_000_000)


class Answer(NamedTuple):
    number: int
    due_ns: int
    """When it was sent; in an open loop, when it should have been."""
    took_ns: int
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Requests:
    """The n-th is a head in turn, the key of its number, and the tail."""

    heads: tuple[bytes, ...]
    tail: bytes = b""
    """Empty: the requests carry no key."""

    @classmethod
    def posts(cls, path: str, tokens: Sequence[str], body: Mapping[str, object]) -> "Requests":
        """JSON bodies with an `idempotency_key`, from the holders of these tokens in turn."""
        begun = json.dumps(body).removesuffix("}") + ', "idempotency_key": "'
        length = len(begun) + len(key_of(0)) + len('"}')
        heads = (
            f"POST {path} HTTP/1.1\r\nHost: hundi\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{begun}"
            for token in tokens
        )
        return cls(tuple(head.encode() for head in heads), b'"}')

    @classmethod
    def gets(cls, path: str) -> "Requests":
        return cls((f"GET {path} HTTP/1.1\r\nHost: hundi\r\n\r\n".encode(),))

    def request(self, number: int) -> bytes:
        key = key_of(number).encode() if self.tail else b""
        return b"".join((self.heads[number % len(self.heads)], key, self.tail))


@dataclass(frozen=True, slots=True)
class Load:
    """For so many seconds, or for so many requests; `rate` a second makes the loop an open one."""

    host: str
    port: int
    requests: Requests
    connections: int
    seconds: float
    accepted: int
    """The status that every answer must have."""
    most: int = 2**31
    rate: float | None = None


def key_of(number: int) -> str:
    """The idempotency key of a request: of all keys of a run, each once."""
    return f"00000000-0000-4000-8000-{number:012x}"


def seconds_of(answers: Sequence[Answer]) -> float:
    """From the first request to the last answer."""
    ended_ns = max(answer.due_ns + answer.took_ns for answer in answers)
    return (ended_ns - min(answer.due_ns for answer in answers)) / NANOS


@contextmanager
def load_process() -> Iterator[ProcessPoolExecutor]:
    """One process on the load's core, kept for the whole run."""
    with ProcessPoolExecutor(1, get_context("spawn"), _pin) as pool:
        yield pool


async def run(pool: ProcessPoolExecutor, load: Load) -> list[Answer]:
    """Every answer, in the order in which they came. Raises StackError for one that is not as it should be,
    and for a server that hangs up."""
    return await asyncio.get_running_loop().run_in_executor(pool, _run, load, next(_first_numbers))


def _pin() -> None:
    cpu.pin(os.getpid(), {cpu.LOAD_CORE})


def _run(load: Load, first: int) -> list[Answer]:
    with asyncio.Runner(loop_factory=_by_the_microsecond) as runner:
        return runner.run(_a_loop(load, first))


def _by_the_microsecond() -> asyncio.AbstractEventLoop:
    """select(2): epoll waits by the millisecond, which would be part of every open-loop latency."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _a_loop(load: Load, first: int) -> list[Answer]:
    return await _Loop(load, first).run()


class _Loop:
    """One load while it runs."""

    def __init__(self, load: Load, first: int) -> None:
        self._load, self._numbers = load, iter(range(first, first + load.most))
        self._until_ns = 0
        self._late: deque[tuple[int, int]] = deque()
        """Of an open loop: due, and every connection is taken."""
        self._idle: list[_Connection] = []
        self._answers: list[Answer] = []
        self._last_is_sent = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.Future()

    async def run(self) -> list[Answer]:
        load, loop = self._load, asyncio.get_running_loop()
        for _ in range(load.connections):
            made = await loop.create_connection(lambda: _Connection(self), load.host, load.port)
            self._idle.append(made[1])
        connections = self._idle.copy()
        self._until_ns = time.time_ns() + round(load.seconds * NANOS)
        if load.rate is None:
            self._idle.clear()
            self._last_is_sent.set()
            for connection in connections:
                self.free(connection)
        else:
            await self._pace(load.rate)
            self._last_is_sent.set()
            self._end_when_idle()
        await self._ended
        for connection in connections:
            connection.close()
        return self._answers

    def answered(self, connection: "_Connection", answer: Answer) -> None:
        if answer.status == self._load.accepted:
            self._answers.append(answer)
            self.free(connection)
        else:
            self.fail(f"{answer.status} {answer.body[:200]!r}")

    def free(self, connection: "_Connection") -> None:
        """Ask what is due next, if anything is."""
        asked = self._next()
        if asked is None:
            self._idle.append(connection)
            self._end_when_idle()
        else:
            connection.ask(*asked, self._load.requests.request(asked[0]))

    def fail(self, why: str) -> None:
        if not self._ended.done():
            port, answers = self._load.port, len(self._answers)
            self._ended.set_exception(StackError(f"port {port}: {why}, after {answers} good answers"))

    def _next(self) -> tuple[int, int] | None:
        if self._load.rate is not None:
            return self._late.popleft() if self._late else None
        now_ns = time.time_ns()
        number = next(self._numbers, None) if now_ns < self._until_ns else None
        return None if number is None else (number, now_ns)

    async def _pace(self, rate: float) -> None:
        began_ns = time.time_ns()
        for place, number in enumerate(self._numbers):
            due_ns = began_ns + round(place * NANOS / rate)
            if due_ns >= self._until_ns or self._ended.done():
                return
            await asyncio.sleep(max(0, due_ns - time.time_ns()) / NANOS)
            self._late.append((number, due_ns))
            if self._idle:
                self.free(self._idle.pop())

    def _end_when_idle(self) -> None:
        all_idle = len(self._idle) == self._load.connections
        if all_idle and self._last_is_sent.is_set() and not self._ended.done():
            self._ended.set_result(None)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, loop: _Loop) -> None:
        self._loop, self._heard = loop, b""
        self._number = self._due_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, number: int, due_ns: int, request: bytes) -> None:
        self._number, self._due_ns = number, due_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, _, body = self._heard.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._heard = b""
        took_ns = time.time_ns() - self._due_ns
        self._loop.answered(self, Answer(self._number, self._due_ns, took_ns, int(head[9:12]), body))

    def connection_lost(self, _error: Exception | None) -> None:
        self._loop.fail("the server hung up")

    def close(self) -> None:
        self._transport.close()
