"""kill -9 at every moment between two durable steps, on the whole market: nothing lost, nothing doubled.

A process is started to die at one named moment, orders of every outcome are on their way when it does, and
another takes over. Then clients ask again where they heard nothing, and the market at rest is held against
the clients' records and the exchange's own files.
"""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal

import httpx
import psycopg
import pytest

from tests.support.clients import Client
from tests.support.contracts import front_future
from tests.support.eventually import eventually
from tests.support.evidence import collect
from tests.support.invariants import broken
from tests.support.market import Market

POINTS = [
    ("api", "group_commit.before_commit:3"),
    ("api", "group_commit.before_answer:3"),
    ("order-worker-0", "order_worker.before_submit"),
    ("order-worker-0", "order_worker.after_submit"),
    ("order-worker-0", "group_commit.before_commit:4"),
    ("order-worker-0", "group_commit.before_answer:4"),
    ("gateway", "gateway.after_claim"),
    ("gateway", "gateway.after_send"),
    ("gateway", "gateway.before_journal:3"),
]
"""The gateway's other moments: tests/crash/test_gateway_kill.py."""
PAIRS = zip(*[iter(f"DEMO{number:04}" for number in range(62, 100))] * 2, strict=True)
"""Each test has its own clients: what one leaves behind is not held against the next."""
OUTCOMES = [*["EXECUTED"] * 4, "OPEN", "MARGIN_INSUFFICIENT", "HOLDINGS_INSUFFICIENT"]
"""Of `place_one_of_each`."""


@pytest.fixture
def clients(market: Market) -> Iterator[list[Client]]:
    """Two new ones, so that both FIX sessions carry orders."""
    with ExitStack() as stack:
        opened = [
            Client(name, stack.enter_context(httpx.Client(base_url=market.api_url, timeout=20)))
            for name in next(PAIRS)
        ]
        for client in opened:
            client.sign_in()
        yield opened


def place_one_of_each(client: Client, low: str) -> None:
    """A future, executed for delivery and intraday, sold, resting, too dear, and not held."""
    client.place(instrument_id=f"NSE:{front_future('NIFTY 50')}", quantity=65, product="NRML")
    client.place(instrument_id="NSE:TCS", quantity=1)
    client.place(instrument_id="NSE:ITC", quantity=7, product="MIS")
    client.place(instrument_id="NSE:SBIN", quantity=3, transaction_type="SELL")
    client.place(instrument_id="NSE:TCS", quantity=2, order_type="LIMIT", price=low)
    client.place(instrument_id="NSE:RELIANCE", quantity=9_000)
    client.place(instrument_id="NSE:RELIANCE", quantity=14_000, transaction_type="SELL")


_MOVING = """
    SELECT (SELECT count(*) FROM orders JOIN users USING (user_id)
            WHERE client_id = ANY(%(clients)s) AND status IN ('PENDING_VALIDATION', 'PENDING_OPEN'))
         + (SELECT count(*) FROM exchange_inbox JOIN users USING (user_id)
            WHERE client_id = ANY(%(clients)s) AND consumed_at_ns IS NULL AND broken IS NULL)
"""


def at_rest(market: Market, clients: list[Client]) -> bool:
    """Every order is final or in the book, and every report is booked."""
    with psycopg.connect(market.settings.postgres_dsn) as conn:
        names = [client.client_id for client in clients]
        return conn.execute(_MOVING, {"clients": names}).fetchone() == (0,)


@pytest.mark.parametrize(("process", "point"), POINTS)
async def test_a_process_that_dies_there_loses_and_doubles_nothing(
    market: Market, clients: list[Client], low: str, process: str, point: str
) -> None:
    with market.crashing(process, point) as dying:
        await serving(market)
        for client in clients:
            place_one_of_each(client, low)
        assert await eventually(lambda: has_died(dying, clients[0]), within=30, every=0.5)
    unanswered = [request for client in clients for request in client.repeat_unanswered()]
    assert bool(unanswered) is (process == "api")
    assert await eventually(lambda: at_rest(market, clients), within=30)
    assert broken(collect(market.settings, [r for client in clients for r in client.requests])) == []
    for client in clients:
        seen = [client.order(request) for request in client.requests]
        ended = [order["reject_code"] or order["status"] for order in seen]
        assert ended == OUTCOMES + ["EXECUTED"] * (len(ended) - len(OUTCOMES))


def has_died(dying: "subprocess.Popen[bytes]", client: Client) -> bool:
    """By its own hand; until then one more order brings it nearer to its point."""
    if dying.poll() is None:
        client.place(instrument_id="NSE:NIFTYBEES", quantity=1)
        return False
    assert dying.returncode == -signal.SIGKILL
    return True


async def serving(market: Market) -> None:
    """The API answers, whoever started it."""

    def answers() -> bool:
        try:
            return httpx.get(f"{market.api_url}/readyz").is_success
        except httpx.TransportError:
            return False

    assert await eventually(answers, within=30)


async def test_an_order_that_the_api_committed_and_never_answered_is_answered_with_its_first_id(
    market: Market, clients: list[Client]
) -> None:
    client = clients[0]
    with market.crashing("api", "group_commit.before_answer") as dying:
        await serving(market)
        lost = client.place(instrument_id="NSE:TCS", quantity=1)
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
    assert lost.acknowledged == []
    for _ in range(2):
        client.ask(lost)
        assert lost.replayed
    assert await eventually(lambda: client.status(lost) == "EXECUTED", within=20)
    assert await eventually(lambda: at_rest(market, clients), within=30)
    evidence = collect(market.settings, client.requests)
    assert broken(evidence) == []
    key = lost.body["idempotency_key"]
    assert [row["order_id"] for row in evidence.keys if str(row["key"]) == key] == [int(lost.order_id)]
    assert evidence.entered["NSE"].count(lost.order_id) == 1


async def test_margin_that_is_blocked_when_the_worker_dies_is_blocked_once(
    market: Market, clients: list[Client], low: str
) -> None:
    """Between margin block and submit: Redis has it, the ledger does not; afterwards both have it, once."""
    client = clients[0]
    before = client.http.get("/api/v1/portfolio/margins").json()
    with market.crashing("order-worker-0", "order_worker.before_submit") as dying:
        order = client.place(instrument_id="NSE:TCS", quantity=3, order_type="LIMIT", price=low)
        assert await asyncio.to_thread(dying.wait, 30) == -signal.SIGKILL
        between = collect(market.settings, client.requests)
        [ledger] = between.ledgers
        needed = 300 * Decimal(low)
        assert between.views[ledger["user_id"]]["blocked"] - ledger["blocked_margin"] == needed
        assert client.status(order) == "PENDING_VALIDATION"
    assert await eventually(lambda: client.status(order) == "OPEN", within=20)
    after = client.http.get("/api/v1/portfolio/margins").json()
    assert Decimal(after["blocked_margin"]) - Decimal(before["blocked_margin"]) == 3 * Decimal(low)
    assert broken(collect(market.settings, client.requests)) == []
