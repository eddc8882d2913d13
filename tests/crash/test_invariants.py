"""The checker of the crash tests is itself checked: a planted fault of each kind must be caught.

Faults are planted in a transaction that is rolled back, or in what was read; the market itself stays whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row

from tests.support.clients import Client, Request, lower_band
from tests.support.contracts import front_future
from tests.support.eventually import eventually
from tests.support.evidence import Evidence, Row, collect, read
from tests.support.invariants import RULES, broken
from tests.support.market import Market

AT_REST = ["EXECUTED", "OPEN", "EXECUTED"]


@pytest_asyncio.fixture(scope="module")
async def requests(whole_market: Market) -> list[Request]:
    """An executed and a resting order of one client and a future, at rest, and nothing wrong with them."""
    market = whole_market
    market.heal()
    with httpx.Client(base_url=market.api_url, timeout=20) as http:
        client = Client("DEMO0055", http)
        client.sign_in()
        client.place(instrument_id="NSE:TCS", quantity=2)
        client.place(
            instrument_id="NSE:TCS",
            quantity=1,
            order_type="LIMIT",
            price=lower_band(market.api_url, "NSE:TCS"),
        )
        client.place(instrument_id=f"NSE:{front_future('NIFTY 50')}", quantity=65, product="NRML")

        def at_rest() -> bool:
            assert [client.status(request) for request in client.requests] == AT_REST
            return True

        await eventually(at_rest, within=20)
    assert await eventually(lambda: broken(collect(market.settings, client.requests)) == [], within=10)
    return client.requests


@contextmanager
def planted(market: Market, requests: list[Request], *faults: str) -> Iterator[Evidence]:
    """The evidence as if these statements had been committed."""
    order_ids = {"executed": int(requests[0].order_id), "open": int(requests[1].order_id), "key": uuid4()}
    with psycopg.connect(market.settings.postgres_dsn, row_factory=dict_row) as conn:
        for fault in faults:
            assert conn.execute(fault.encode(), order_ids).rowcount > 0, fault
        yield read(conn, market.settings, requests)
        conn.rollback()


def caught(evidence: Evidence) -> set[str]:
    """The rules that are broken."""
    return {fault.partition(":")[0] for fault in broken(evidence)}


_COPY_TRADE = """
    INSERT INTO trades SELECT exchange, exec_id || '-again', order_id, user_id, instrument_id,
        transaction_type, product, quantity, price, realized_pnl, exchange_order_id, traded_at_ns,
        booked_at_ns, place, unit_margin
    FROM trades WHERE order_id = %(executed)s
"""
_SPEND = """
    UPDATE margin_ledger SET blocked_margin = cash + 1
    WHERE user_id = (SELECT user_id FROM orders WHERE order_id = %(open)s)
"""
_COPY_ORDER = """
    INSERT INTO orders SELECT order_id + 500, user_id, instrument_id, order_type, transaction_type, product,
        validity, quantity, price, trigger_price, status, filled_quantity, filled_value, exchange_order_id,
        reject_code, reject_reason, tag, idempotency_key, traceparent, owner, created_at_ns, updated_at_ns
    FROM orders WHERE order_id = %(open)s
"""
FAULTS = {
    "a lost acknowledgement": ("DELETE FROM order_intake WHERE order_id = %(open)s", "I1"),
    "a second order of one key": (_COPY_ORDER, "I2"),
    "a key of nobody": ("UPDATE orders SET idempotency_key = %(key)s WHERE order_id = %(open)s", "I2"),
    "a doubled fill": (_COPY_TRADE, "I8"),
    "a lost fill": ("DELETE FROM trades WHERE order_id = %(executed)s", "I8"),
    "a fill at another price": ("UPDATE trades SET price = price + 5 WHERE order_id = %(executed)s", "I8"),
    "a double spend": (_SPEND, "I5"),
    "margin of a finished order": ("UPDATE orders SET status = 'CANCELLED' WHERE order_id = %(open)s", "I6"),
    "an order without its margin": ("DELETE FROM margin_holds WHERE order_id = %(open)s", "I6"),
    "half a movement": (
        """INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
           SELECT 'planted', 'cash:' || user_id, 100, 1 FROM orders WHERE order_id = %(open)s""",
        "I4",
    ),
    "used margin out of nothing": (
        """UPDATE margin_ledger SET used_margin = used_margin - 5
           WHERE user_id = (SELECT user_id FROM orders WHERE order_id = %(open)s)""",
        "I4",
    ),
    "margin of derivatives out of nothing": (
        """UPDATE margin_ledger SET blocked_margin = blocked_margin + 5,
               portfolio_blocked = portfolio_blocked + 5
           WHERE user_id = (SELECT user_id FROM orders WHERE order_id = %(open)s)""",
        "I6 of derivatives",
    ),
    "a status nobody recorded": ("UPDATE orders SET status = 'EXPIRED' WHERE order_id = %(open)s", "I7"),
    "a drift of Redis": (
        """UPDATE margin_ledger SET blocked_margin = blocked_margin + 5
           WHERE user_id = (SELECT user_id FROM orders WHERE order_id = %(open)s)""",
        "I12",
    ),
    "an order left behind": ("UPDATE orders SET status = 'PENDING_OPEN' WHERE order_id = %(open)s", "I14"),
}


@pytest.mark.parametrize(("fault", "rule"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_in_the_books_is_caught(
    market: Market, requests: list[Request], fault: str, rule: str
) -> None:
    with planted(market, requests, fault) as evidence:
        assert rule in caught(evidence)


async def test_a_fault_of_the_wire_or_the_record_is_caught(market: Market, requests: list[Request]) -> None:
    order_ids = [request.order_id for request in requests]
    evidence = collect(market.settings, requests)
    assert caught(evidence) == set()

    evidence.entered["NSE"].append(order_ids[0])
    assert "I3" in caught(evidence), "an order that the exchange took twice"
    del evidence.entered["NSE"][-1]

    taken = evidence.entered["NSE"].index(order_ids[0])
    evidence.entered["NSE"].append(evidence.entered["NSE"].pop(taken))
    assert "I9" in caught(evidence), "a later order that overtook an earlier one"
    evidence.entered["NSE"].insert(taken, evidence.entered["NSE"].pop())

    record: Row = evidence.records.pop(1)
    assert "I11" in caught(evidence), "an update that is missing from the record"
    evidence.records.insert(1, record)

    evidence.records[0]["detail"]["internal"] = 1
    assert "frames" in caught(evidence), "a member that no frame has"
    del evidence.records[0]["detail"]["internal"]

    evidence.requests[0].acknowledged.append(order_ids[1])
    assert "I2" in caught(evidence), "one key answered with two orders"
    evidence.requests[0].acknowledged.pop()

    evidence.requests[0].acknowledged.append("991231999999999")
    assert "I1" in caught(evidence), "an order that was acknowledged and is nowhere"
    evidence.requests[0].acknowledged.pop()
    assert caught(evidence) == set()


def test_every_rule_has_a_fault_that_it_catches() -> None:
    assert {rule for _, rule in FAULTS.values()} | {"I3", "I9", "I11", "frames"} == set(RULES)
