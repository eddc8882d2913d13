"""Each rule of a soak's verdict finds the fault that is planted for it, and nothing where there is none."""

import time
from typing import Any

import pytest

from config.settings import Settings
from domain.reports import ExecType, OrdStatus
from domain.time import NANOS
from storage.database import Database
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from tests.soak.journal import CancelAnswer, Journal, OwnRefused
from tests.soak.verdict import Left, owed
from tests.soak.watch import Watch
from tests.support.builders import a_report
from tests.support.evidence import Evidence
from tests.support.orders import new_users, submit

ORDER = "261201000001001"
FINAL_AT_NS = 2_000
FILLED: dict[str, Any] = {
    "exec_type": ExecType.TRADE,
    "ord_status": OrdStatus.FILLED,
    "cumulative_quantity": 10,
    "leaves_quantity": 0,
    "last_quantity": 10,
    "last_price": 100,
}


def evidence(status: str) -> Evidence:
    """One order and the record of its end."""
    names = ("requests", "users", "keys", "intake", "trades", "holds", "ledgers", "holdings", "positions")
    lists: dict[str, Any] = {name: [] for name in (*names, "postings", "file")}
    order = {"order_id": int(ORDER), "status": status}
    record = order | {"occurred_at_ns": FINAL_AT_NS}
    return Evidence(**lists, orders=[order], records=[record], views={}, entered={}, risk=None)


def cancelled(status: int, code: str = "", at_ns: int = 3_000) -> Journal:
    return Journal(cancels=[CancelAnswer("DEMO0051", ORDER, status, code, 0.1, at_ns)])


def found(left: Left) -> set[str]:
    """The rules that found something."""
    return {fault.partition(":")[0] for fault in owed(left)}


def test_what_went_well_is_not_complained_of() -> None:
    assert found(Left(cancelled(202), evidence("CANCELLED"))) == set()
    assert found(Left(cancelled(409, "ORDER_ALREADY_FINAL"), evidence("EXECUTED"))) == set()
    assert found(Left(cancelled(409, "CANCEL_ALREADY_PENDING"), evidence("CANCELLED"))) == set()


@pytest.mark.parametrize(
    ("journal", "status"),
    [
        (cancelled(503, "ORDER_BUSY"), "CANCELLED"),
        (cancelled(500), "CANCELLED"),
        (cancelled(202), "OPEN"),
        (cancelled(409, "ORDER_ALREADY_FINAL", at_ns=1_000), "EXECUTED"),
        (cancelled(409, "ORDER_ALREADY_FINAL"), "OPEN"),
        (cancelled(409, "CHANGE_ALREADY_PENDING"), "CANCELLED"),
    ],
)
def test_a_cancel_that_was_not_answered_truthfully_is_found(journal: Journal, status: str) -> None:
    assert found(Left(journal, evidence(status))) == {"cancels"}


def test_a_refusal_of_what_is_owned_a_lost_story_a_late_report_and_a_late_freeze_are_found() -> None:
    journal = Journal(
        own_refused=[OwnRefused("DEMO0051", ORDER, "HOLDINGS_INSUFFICIENT", "5 shares bought")],
        late_freezes=["DEMO0051 was frozen and its order stayed open"],
    )
    left = Left(journal, evidence("EXECUTED"), {"NSE T1": 6.0}, [int(ORDER)])
    assert found(left) == {"what is owned", "freezes", "reports", "stories"}


async def test_a_journaled_trade_that_nobody_books_is_seen_after_five_seconds(
    database: Database, servers: Settings
) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await submit(database, user_id, exchange="NSE")
    watch, exec_id = Watch(servers.postgres_dsn), f"T{order_id}"
    now_ns = time.time_ns()
    report = a_report(order_id, exec_id=exec_id, **FILLED)
    async with database.transaction() as conn:
        await write(conn, [], [Arrival("NSE", "FIX.4.2:TEST->NSE", 1, report, now_ns)], now_ns)
    try:
        assert await seen(database, watch, exec_id, age=4) == []
        assert await seen(database, watch, exec_id, age=6) == [pytest.approx(6, abs=1)]
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM exchange_inbox WHERE report_id = %s", (exec_id,))


async def seen(database: Database, watch: Watch, exec_id: str, age: int) -> list[float]:
    """How long the report was unbooked by a look at it, when it is of that age."""
    async with database.transaction() as conn:
        received = (time.time_ns() - age * NANOS, exec_id)
        await conn.execute("UPDATE exchange_inbox SET received_at_ns = %s WHERE report_id = %s", received)
    watch.look()
    return [seconds for name, seconds in watch.unbooked.items() if exec_id in name]
