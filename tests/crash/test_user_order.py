"""Per-user order with two order workers, one of them killed in the middle: first come, first at the exchange.

Each user's orders reach the exchange in the order in which they were acknowledged, and never more than ten of
them are in flight. HUNDI_FIFO_USERS and HUNDI_FIFO_ORDERS (a user) set the size; 200 and 50, the bar of the
issue, take minutes; the suite runs a small one.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from redis import Redis

from bus.health import read_one
from config.tokens import issue
from storage.journals.outbox import IN_FLIGHT_MAX
from tests.support.clients import Request, an_order
from tests.support.edge import until
from tests.support.eventually import eventually
from tests.support.evidence import Row, collect
from tests.support.invariants import broken
from tests.support.market import Market, environment

USERS = int(os.environ.get("HUNDI_FIFO_USERS", "12"))
ORDERS = int(os.environ.get("HUNDI_FIFO_ORDERS", "15"))
"""Of each user."""
pytestmark = pytest.mark.timeout(120 + USERS * ORDERS / 5)
CASH = 10**12
_USERS = """
    INSERT INTO users (user_id, client_id, full_name, password_hash, role, created_at_ns)
    SELECT 3000000 + n, 'FIFO' || n, 'A test account', '!', 'CLIENT', 1 FROM generate_series(1, %s) n
    RETURNING user_id, client_id
"""
_STREAMS = "INSERT INTO update_sequences (user_id) SELECT unnest(%s::bigint[])"
_LEDGERS = """
    WITH opened AS (
        INSERT INTO margin_ledger (user_id, cash, updated_at_ns) SELECT unnest(%s::bigint[]), %s, 1
        RETURNING user_id, cash
    )
    INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
    SELECT 'deposit:' || user_id, 'cash:' || user_id, cash, 1 FROM opened
    UNION ALL SELECT 'deposit:' || user_id, 'bank', -cash, 1 FROM opened
"""
_FLIGHTS = """
    SELECT user_id, sent_at_ns, answered_at_ns, i.claimed_by FROM exchange_outbox o
    JOIN order_intake i USING (order_id, user_id) WHERE user_id = ANY(%s) AND kind = 'NEW'
"""
_UNDER_WAY = """
    SELECT count(*) AS n FROM orders
    WHERE user_id = ANY(%s) AND status NOT IN ('CANCELLED', 'EXPIRED', 'EXECUTED', 'REJECTED')
"""


@pytest.fixture
def users(market: Market) -> dict[int, str]:
    """Client ids of accounts of this test alone."""
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
        rows = conn.execute(_USERS, (USERS,)).fetchall()
        ids = [row["user_id"] for row in rows]
        conn.execute(_STREAMS, (ids,))
        conn.execute(_LEDGERS, (ids, CASH))
    return {row["user_id"]: row["client_id"] for row in rows}


@contextmanager
def another_worker(market: Market) -> Iterator["subprocess.Popen[bytes]"]:
    """A second order worker beside the market's own."""
    row = market.supervisor.processes["order-worker-0"]
    named = environment(market.settings) | row.environment | {"HUNDI_WORKER_ID": "order-worker-1"}
    worker = subprocess.Popen(row.command, env=named)
    with Redis.from_url(market.settings.redis_dsn) as redis:
        until(lambda: (health := read_one(redis, "order-worker-1")) and health.pid == worker.pid)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


async def test_with_a_worker_killed_each_user_s_orders_arrive_in_turn_and_ten_are_in_flight_at_most(
    market: Market, users: dict[int, str], low: str
) -> None:
    def flights() -> list[Row]:
        with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
            return conn.execute(_FLIGHTS, (list(users),)).fetchall()

    def shared() -> bool:
        """Both workers have taken orders, and a good part has left."""
        seen = flights()
        return len({row["claimed_by"] for row in seen}) == 2 and len(seen) > USERS * ORDERS // 4

    def finished() -> bool:
        with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
            row = conn.execute(_UNDER_WAY, (list(users),)).fetchone()
        return row is not None and row["n"] == 0

    with another_worker(market) as second:
        everyone = httpx.Limits(max_connections=USERS)
        async with httpx.AsyncClient(base_url=market.api_url, timeout=60, limits=everyone) as http:
            asking = [asyncio.create_task(ask_all(http, market, *user, low)) for user in users.items()]
            assert await eventually(shared, within=60 + USERS * ORDERS / 20)
            second.send_signal(signal.SIGKILL)
            requests = [request for asked in asyncio.as_completed(asking) for request in await asked]
        assert await eventually(finished, within=30 + USERS * ORDERS / 10, every=0.5)
    assert await eventually(lambda: broken(collect(market.settings, requests)) == [], within=20)
    assert len(requests) == USERS * ORDERS
    assert max(most_at_once(flights()).values()) <= IN_FLIGHT_MAX


async def ask_all(
    http: httpx.AsyncClient, market: Market, user_id: int, client_id: str, low: str
) -> list[Request]:
    """The user's orders, one after the other; each is at once the exchange's to expire."""
    token, _ = issue(market.settings, user_id, client_id, "CLIENT", int(time.time()))
    requests = []
    for _ in range(ORDERS):
        body = an_order(instrument_id="NSE:TCS", order_type="LIMIT", price=low, quantity=1, validity="IOC")
        answer = await http.post("/api/v1/orders", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 202, answer.text
        requests.append(Request(client_id, body, [answer.json()["order_id"]]))
    return requests


def most_at_once(flights: list[Row]) -> dict[int, int]:
    """By user: of how many orders the exchange's answer was owed at one moment."""
    moments: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in flights:
        moments[row["user_id"]] += [(row["sent_at_ns"], 1), (row["answered_at_ns"], -1)]
    most = {}
    for user_id, own in moments.items():
        flying = most[user_id] = 0
        for _, change in sorted(own):
            flying += change
            most[user_id] = max(most[user_id], flying)
    return most
