"""Any sequence of what clients, the exchange and crashes may do: the invariants hold after each step.

Clients place, change and cancel; the exchange fills, busts and corrects, and its reports come late, twice and
out of order; a writer may die before his commit, the gateway between send and mark, and Redis may forget
an account. I5, I7, I9 and the books' own sums hold at every moment; once everything is at rest all rules do,
against the exchange's files. HUNDI_SEQUENCES sets how many sequences are tried.
"""

import os
import random
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from redis.asyncio import Redis

from config.settings import Settings
from domain.orders import OrderType, Product, Side
from storage.books import holds_at_exchange
from storage.database import Database
from tests.support.brokerage import PERCENT, Brokerage, Killed, brokerage
from tests.support.evidence import Evidence, read
from tests.support.invariants import RULES

ALWAYS = ("I2", "I4", "I7", "I9", "I11")
"""Hold while orders are under way; the others once everything is at rest."""
PRICES = [2449_00, 2450_00, 2451_00]
CASH = 100_000_00
CORRECTIONS = {"bust", "correct"}

which, price = st.integers(0, 50), st.sampled_from(PRICES)
place = st.tuples(
    st.just("place"),
    st.integers(0, 1),
    st.sampled_from(Side),
    st.sampled_from([Product.CNC, Product.MIS]),
    st.integers(1, 20),
    price,
)
STEPS = st.lists(
    place
    | place
    | st.tuples(st.just("submit"), which)
    | st.tuples(st.just("cancel"), which)
    | st.tuples(st.just("change"), which, st.integers(1, 25), price)
    | st.tuples(st.just("send"), st.booleans())
    | st.tuples(st.just("arrive"), which, st.integers(1, 6), st.booleans())
    | st.tuples(st.just("book"), which)
    | st.tuples(st.just("bust"), which)
    | st.tuples(st.just("correct"), which, price)
    | st.tuples(st.just("die"))
    | st.tuples(st.just("forget"), st.integers(0, 1)),
    min_size=10,
    max_size=40,
)


async def take(broker: Brokerage, users: list[int], verb: str, *rest: Any) -> None:
    """One step; what it cannot do now it leaves."""

    def chosen(options: list[Any]) -> Any:
        return options[rest[0] % len(options)] if options else None

    if verb == "place":
        user, side, product, quantity, at = rest
        terms = {"order_type": OrderType.LIMIT, "side": side, "product": product}
        await broker.place(users[user], quantity=quantity, price=at, **terms)
    elif verb == "submit" and broker.unsubmitted:
        await broker.submit(chosen(broker.unsubmitted))
    elif verb in ("cancel", "change") and (
        submitted := [p for p in broker.placed if p not in broker.unsubmitted]
    ):
        order = chosen(submitted)
        await (broker.cancel(order) if verb == "cancel" else broker.change(order, *rest[1:]))
    elif verb == "send":
        await broker.send(marked=rest[0])
    elif verb == "arrive":
        heard = random.Random(rest[0]).sample(broker.line, min(rest[1], len(broker.line)))
        await broker.arrive(*heard, *(heard if rest[2] else ()))
    elif verb == "book" and broker.placed:
        await broker.book(chosen(broker.placed))
    elif verb == "bust" and broker.standing:
        broker.bust(chosen(list(broker.standing)))
    elif verb == "correct" and broker.standing:
        exec_id = chosen(list(broker.standing))
        broker.correct(exec_id, -(-broker.standing[exec_id].last_quantity // 2), rest[1])
    elif verb == "die":
        broker.mortal.doomed = True
    elif verb == "forget":
        await broker.lose_view(users[rest[0]])


def as_booked(evidence: Evidence) -> Evidence:
    """As if the exchange's file were what is booked: the books' sums among themselves."""
    undone = [t | {"quantity": -t["quantity"]} for t in evidence.trades if t["undone_by"]]
    rows = [
        t | {"cl_ord_id": str(t["order_id"]), "side": t["transaction_type"]} for t in evidence.trades + undone
    ]
    return replace(evidence, file=rows)


def faults(evidence: Evidence, names: list[str]) -> list[str]:
    return [f"{name}: {fault}" for name in names for fault in RULES[name](evidence)]


async def wrongly_held(database: Database, users: list[int], later_ns: int = 0) -> list[str]:
    """What the reconciliation would say of these users' holds."""
    found = await holds_at_exchange.faults(database, PERCENT, time.time_ns() + later_ns)
    return [finding.sentence for finding in found if finding.user_id in users]


@given(STEPS)
@settings(
    max_examples=int(os.environ.get("HUNDI_SEQUENCES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_the_invariants_hold_after_each_step_of_any_sequence(
    database: Database, redis: Redis, servers: Settings, steps: list[tuple[Any, ...]]
) -> None:
    # What the exchange takes back may be spent already: only without that is nobody ever short.
    rules = [*ALWAYS] if CORRECTIONS & {step[0] for step in steps} else [*ALWAYS, "I5"]
    at_rest = [name for name in RULES if name in rules or name not in {"I5"}]
    with (
        tempfile.TemporaryDirectory() as name,
        psycopg.connect(servers.postgres_dsn, row_factory=dict_row, autocommit=True) as conn,
    ):
        async with brokerage(database, redis, Path(name)) as broker:
            # Another directory has other passwords: the servers' are said.
            urls = {"postgres_url": servers.postgres_dsn, "redis_url": servers.redis_dsn}
            elsewhere = {"data_dir": Path(name), "exchanges": (broker.listed.exchange,)}
            files = servers.model_copy(update=urls | elsewhere)
            users = [await broker.client(CASH, 30) for _ in range(2)]
            for step in steps:
                with suppress(Killed):
                    await take(broker, users, *step)
                assert faults(as_booked(read(conn, files, broker.requests)), rules) == [], step
            broker.mortal.doomed = False
            await broker.settle()
            assert faults(read(conn, files, broker.requests), at_rest) == [], steps
