"""The load generator against a server whose answers and delays are known."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import Load, Requests, key_of, load_process, run, seconds_of
from domain.time import NANOS
from stack.errors import StackError

STALL_SECONDS = 0.3
Heard = list[tuple[str, bytes]]
"""Authorization and body of each request."""


@contextmanager
def a_server(status: int = 202, stall_at: int | None = None) -> Iterator[tuple[int, Heard]]:
    """Its port and what it hears; the `stall_at`th request waits."""
    heard: Heard = []

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers["Authorization"], body))
            if len(heard) == stall_at:
                time.sleep(STALL_SECONDS)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], heard
        server.shutdown()
        thread.join()


def posts() -> Requests:
    return Requests.posts("/orders", ["one", "two"], {"quantity": 1})


async def loaded(load: Load) -> list[int]:
    """Nanoseconds of each answer, in the order of the requests."""
    with load_process() as pool:
        answers = await asyncio.wait_for(run(pool, load), 30)
    assert seconds_of(answers) > 0
    return [answer.took_ns for answer in sorted(answers)]


async def test_every_request_is_whole_by_a_client_in_turn_and_has_its_own_key() -> None:
    with a_server() as (port, heard):
        took = await loaded(Load("127.0.0.1", port, posts(), 4, 30, 202, most=20))
    assert len(took) == len(heard) == 20
    assert {authorization for authorization, _ in heard} == {"Bearer one", "Bearer two"}
    bodies = {body for _, body in heard}
    assert len(bodies) == 20
    assert all(body.startswith(b'{"quantity": 1, "idempotency_key": "0000') for body in bodies)
    assert all(len(body) == len('{"quantity": 1, "idempotency_key": ""}') + len(key_of(0)) for body in bodies)


async def test_an_open_loop_counts_a_stall_against_all_who_were_due_in_it() -> None:
    with a_server(stall_at=10) as (port, heard):
        took = await loaded(Load("127.0.0.1", port, posts(), 1, 0.5, 202, rate=100))
    assert len(took) == len(heard) == 50
    assert sum(ns > STALL_SECONDS / 3 * NANOS for ns in took) >= 10


async def test_an_answer_that_is_no_acknowledgement_ends_the_measurement() -> None:
    with a_server(status=503) as (port, _), pytest.raises(StackError, match="503"):
        await loaded(Load("127.0.0.1", port, posts(), 2, 5, 202))
