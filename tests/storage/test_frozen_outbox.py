"""Freezes over the real outbox: what is stopped is never claimed and is withdrawn, the rest leaves."""

import time
from itertools import product

import pytest

from domain.margin import Block, BlockOutcome
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.trading_states import Cause, Scope, Standing, TradingState, reduces, state_refusal
from storage.database import Connection, Database
from storage.journals import frozen_outbox, order_queue, outbox, unbooked
from storage.risk import trading_states
from storage.risk.trading_states import StateTarget
from tests.support.desk import A_WORD, frozen, user
from tests.support.orders import new_users, submit

SESSIONS = ["S0", "S1"]
KINDS = [
    (Product.CNC, Side.BUY, 10),
    (Product.CNC, Side.SELL, 10),
    (Product.MIS, Side.SELL, 10),
    (Product.MIS, Side.SELL, 0),
]
"""Product, side, and how many of ten open a position."""


async def owed(database: Database, user_id: int, exchange: str, *kind: object, house: bool = False) -> int:
    """An order of a kind in the outbox, with the hold that its submission wrote."""
    product_, side, opening = kind or KINDS[0]
    order_id = await submit(database, user_id, exchange, symbol="SBIN", side=side)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE orders SET product = %s, transaction_type = %s WHERE order_id = %s",
            (product_, side, order_id),
        )
        await conn.execute(
            "INSERT INTO margin_holds (order_id, user_id, instrument_id, product, transaction_type,"
            " unit_margin, open_quantity, close_quantity) VALUES (%s, %s, 'NSE:SBIN', %s, %s, 1, %s, %s)",
            (order_id, user_id, product_, side, opening, 10 - int(str(opening))),
        )
        if house:
            await conn.execute(
                "INSERT INTO house_orders (purpose, user_id, key, actor, created_at_ns)"
                " SELECT %s, user_id, idempotency_key, 'test', 1 FROM orders WHERE order_id = %s",
                (f"test:{order_id}", order_id),
            )
    return order_id


async def claim(database: Database, exchange: str) -> list[int]:
    async with database.transaction() as conn:
        return [o.order_id for o in await outbox.claim(conn, exchange, SESSIONS, time.time_ns())]


async def withdraw(database: Database, exchange: str) -> dict[int, str]:
    async with database.transaction() as conn:
        told = await frozen_outbox.withdraw(conn, exchange)
    return {int(update.body["order_id"]): update.body["reject_code"] for update in told}


async def seqs_of(conn: Connection, order_ids: list[int]) -> dict[int, int]:
    found = await conn.execute(
        "SELECT order_id, seq FROM exchange_outbox WHERE order_id = ANY(%s)", (order_ids,)
    )
    return {row["order_id"]: row["seq"] for row in await found.fetchall()}


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        (StateTarget(Scope.ALL), "TRADING_HALTED"),
        (StateTarget(Scope.SEGMENT, "NSE:CASH"), "SEGMENT_HALTED"),
        (StateTarget(Scope.INSTRUMENT, "NSE:SBIN"), "INSTRUMENT_HALTED"),
        (None, "USER_FROZEN"),
    ],
)
async def test_what_waits_is_withdrawn_with_its_code_and_nothing_else_is(
    database: Database, subject: StateTarget | None, code: str
) -> None:
    first, second = await new_users(database, 2)
    stopped = await owed(database, first, "NSE")
    share = await submit(database, second, "NSE", symbol="TCS")
    elsewhere = await submit(database, second, "BSE", symbol="TCS")
    spared = {elsewhere} if code in ("TRADING_HALTED", "SEGMENT_HALTED") else {elsewhere, share}
    async with frozen(database, subject or user(first)):
        async with database.reading() as conn:
            seqs = await seqs_of(conn, [stopped, share, elsewhere])
            held = await frozen_outbox.among(conn, list(seqs.values()))
        withdrawn = await withdraw(database, "NSE")
    assert withdrawn[stopped] == code
    assert spared.isdisjoint(withdrawn)
    free = {order_id for order_id, seq in seqs.items() if seq not in held}
    assert free == (spared if code != "TRADING_HALTED" else set())
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT status, reject_code, gate_passed_at_ns IS NOT NULL AS passed, withdrawn_at_ns IS NOT NULL"
            " AS withdrawn FROM orders JOIN order_intake USING (order_id) JOIN exchange_outbox"
            " USING (order_id) WHERE order_id = %s",
            (stopped,),
        )
        row = await found.fetchone()
    assert row == {"status": "CANCELLED", "reject_code": code, "passed": True, "withdrawn": True}
    assert await withdraw(database, "NSE") == {}


async def test_sql_and_domain_agree_on_every_state_cause_kind_and_owner(database: Database) -> None:
    (user_id,) = await new_users(database, 1)
    cells = list(product([TradingState.REDUCING, TradingState.HALTED], Cause, KINDS, [False, True]))
    expected, seen = {}, {}
    for number, (state, cause, kind, house) in enumerate(cells):
        exchange = f"T{number}"
        order_id = await owed(database, user_id, exchange, *kind, house=house)
        block = Block(BlockOutcome.BLOCKED, kind[2], 10 - kind[2], 1, 1, 1)
        terms = OrderTerms("NSE:SBIN", OrderType.LIMIT, kind[1], kind[0], Validity.DAY, 10, 100)
        standing = Standing(Scope.USER, cause, state)
        refusal = state_refusal([standing], opens=not reduces(terms, block), by_house=house)
        expected[order_id] = refusal.code.value if refusal else "leaves"
        async with frozen(database, user(user_id), state, cause):
            withdrawn = await withdraw(database, exchange)
            seen[order_id] = withdrawn.get(order_id) or "waits"
            if await claim(database, exchange) == [order_id]:
                seen[order_id] = "leaves"
        async with database.transaction() as conn:
            await conn.execute(
                "UPDATE order_intake SET gate_passed_at_ns = 1 WHERE order_id = %s", (order_id,)
            )
            await conn.execute(
                "UPDATE exchange_outbox SET sent_at_ns = 1, answered_at_ns = 1 WHERE order_id = %s",
                (order_id,),
            )
    assert seen == expected
    assert set(expected.values()) == {"leaves", "USER_FROZEN", "REDUCE_ONLY"}


async def test_a_claimed_order_that_a_freeze_overtook_is_put_back_and_withdrawn(database: Database) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await owed(database, user_id, "XB")
    async with database.transaction() as conn:
        (claimed,) = await outbox.claim(conn, "XB", SESSIONS, time.time_ns())
    async with frozen(database, user(user_id)):
        async with database.transaction() as conn:
            assert await frozen_outbox.among(conn, [claimed.seq]) == {claimed.seq}
            await frozen_outbox.put_back(conn, [claimed.seq])
        assert await claim(database, "XB") == []
        assert await withdraw(database, "XB") == {order_id: "USER_FROZEN"}
    async with database.transaction() as conn:
        assert await frozen_outbox.among(conn, [claimed.seq]) == set()


async def test_the_workflow_is_told_until_it_knows_whoever_has_given_the_margin_back(
    database: Database,
) -> None:
    (user_id,) = await new_users(database, 1)
    order_id = await owed(database, user_id, "XW")
    async with frozen(database, user(user_id)):
        await withdraw(database, "XW")
    now = time.time_ns()
    assert order_id in await withdrawals_due(database, now)
    assert order_id not in await withdrawals_due(database, now)
    later = now + order_queue.TELL_AGAIN_NS
    assert order_id in await withdrawals_due(database, later)
    async with database.transaction() as conn:
        await unbooked.take(conn, [user_id], [])
    assert order_id in await withdrawals_due(database, later := later + order_queue.TELL_AGAIN_NS)
    async with database.transaction() as conn:
        await unbooked.take(conn, [user_id], [order_id])
    for again in (1, 2, 3):
        assert order_id not in await withdrawals_due(database, later + again * 10**11)


async def withdrawals_due(database: Database, now_ns: int) -> list[int]:
    """Of the first pages, where those of other tests' orders are too."""
    return [order_id for _ in range(5) for order_id in await order_queue.withdrawals_due(database, now_ns)]


async def test_each_change_is_on_record_and_a_repeat_is_none(database: Database) -> None:
    (user_id,) = await new_users(database, 1)
    subject = user(user_id)
    async with database.transaction() as conn:
        first = await trading_states.freeze(conn, subject, TradingState.HALTED, Cause.DESK, A_WORD)
        again = await trading_states.freeze(conn, subject, TradingState.HALTED, Cause.DESK, A_WORD)
        lifted = await trading_states.unfreeze(conn, subject, Cause, A_WORD)
        found = await conn.execute(
            "SELECT event, actor, detail->>'reason' AS reason FROM audit_log WHERE user_id = %s"
            " ORDER BY audit_id",
            (user_id,),
        )
        record = await found.fetchall()
    assert (first.changed, again.changed, lifted) == (True, False, [Cause.DESK])
    assert [(row["event"], row["actor"], row["reason"]) for row in record] == [
        ("FROZEN", "RISK01", "a test"),
        ("UNFROZEN", "RISK01", "a test"),
    ]
