"""Claims over real rows: each user's orders in acknowledgement order, whatever is ready when."""

import random
import time
from collections import defaultdict
from collections.abc import Sequence

import pytest

from domain.instructions import CancelOrder
from domain.orders import Side
from storage.database import Database
from storage.journals import outbox
from storage.journals.gateway_commit import write
from storage.journals.outbox import IN_FLIGHT_MAX, OutboxRow, Sent
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users, owe, submit

SESSIONS = ["S0", "S1"]


async def claim_and_send(
    database: Database, exchange: str, sessions: Sequence[str | None] = SESSIONS, limit: int = 500
) -> list[OutboxRow]:
    async with database.transaction() as conn:
        claimed = await outbox.claim(conn, exchange, sessions, time.time_ns(), limit)
    async with database.transaction() as conn:
        await write(conn, [Sent(owed, time.time_ns(), False) for owed in claimed], [], time.time_ns())
    return claimed


async def answer(database: Database, claimed: Sequence[OutboxRow]) -> None:
    async with database.transaction() as conn:
        await outbox.answered(conn, [owed.cl_ord_id for owed in claimed], time.time_ns())


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_becomes_ready_when_each_user_s_orders_leave_in_order(
    database: Database, seed: int
) -> None:
    """Workflows finish in random order, some orders are refused on the way, claims are of random size."""
    rng = random.Random(seed)
    exchange = f"X{seed}"
    users = await new_users(database, 5)
    acknowledged: dict[int, list[int]] = defaultdict(list)
    waiting = []
    for _ in range(60):
        user, order = rng.choice(users), a_new_order(an_order_id())
        async with database.transaction() as conn:
            seq = await acknowledge(conn, user, order)
        acknowledged[user].append(int(order.cl_ord_id))
        waiting.append((user, seq, order))
    rng.shuffle(waiting)
    sent: dict[int, list[int]] = defaultdict(list)
    refused: set[int] = set()
    for _ in range(400):
        if waiting and rng.random() < 0.5:
            user, seq, order = waiting.pop()
            async with database.transaction() as conn:
                if rng.random() < 0.15:
                    refused.add(int(order.cl_ord_id))
                    await conn.execute("UPDATE order_intake SET gate_passed_at_ns = 1 WHERE seq = %s", (seq,))
                else:
                    await owe(conn, user, seq, order, exchange=exchange)
        claimed = await claim_and_send(database, exchange, limit=rng.randint(1, 20))
        assert [o.user_id % 2 for o in claimed] == [SESSIONS.index(o.session) for o in claimed]
        for owed in claimed:
            sent[owed.user_id].append(owed.order_id)
        await answer(database, claimed)
    expected = {u: [o for o in ids if o not in refused] for u, ids in acknowledged.items()}
    assert {u: ids for u, ids in sent.items() if ids} == {u: ids for u, ids in expected.items() if ids}


async def test_ten_of_a_user_s_orders_are_in_flight_and_the_rest_wait(database: Database) -> None:
    user = (await new_users(database, 1))[0]
    for _ in range(14):
        async with database.transaction() as conn:
            order = a_new_order(an_order_id())
            await owe(conn, user, await acknowledge(conn, user, order), order, exchange="XF")
    first = await claim_and_send(database, "XF")
    assert len(first) == IN_FLIGHT_MAX
    assert await claim_and_send(database, "XF") == []
    await answer(database, first[:3])
    assert len(await claim_and_send(database, "XF")) == 3


async def test_the_users_of_a_session_that_is_away_wait_and_the_others_do_not(database: Database) -> None:
    users = await new_users(database, 2)
    for user in users:
        async with database.transaction() as conn:
            order = a_new_order(an_order_id())
            await owe(conn, user, await acknowledge(conn, user, order), order, exchange="XA")
    one = await claim_and_send(database, "XA", ["S0", None])
    assert [owed.user_id % 2 for owed in one] == [0]
    both = await claim_and_send(database, "XA")
    assert [owed.user_id % 2 for owed in both] == [1]


async def test_a_cancel_leaves_only_after_its_order(database: Database) -> None:
    user = (await new_users(database, 1))[0]
    order = a_new_order(an_order_id())
    cancel = CancelOrder(f"{order.cl_ord_id}-1", order.cl_ord_id, "RELIANCE", Side.BUY, 10, 1)
    async with database.transaction() as conn:
        seq = await acknowledge(conn, user, order)
        await owe(conn, user, seq, cancel, exchange="XC")
    assert await claim_and_send(database, "XC") == []
    async with database.transaction() as conn:
        await owe(conn, user, seq, order, exchange="XC")
    assert [o.kind for o in await claim_and_send(database, "XC")] == ["NEW"]
    assert [o.kind for o in await claim_and_send(database, "XC")] == ["CANCEL"]


async def test_a_claimed_row_that_was_not_marked_is_unknown(database: Database) -> None:
    user = (await new_users(database, 1))[0]
    order = a_new_order(an_order_id())
    async with database.transaction() as conn:
        await owe(conn, user, await acknowledge(conn, user, order), order, exchange="XU")
    async with database.transaction() as conn:
        claimed = await outbox.claim(conn, "XU", SESSIONS, time.time_ns())
    async with database.reading() as conn:
        assert await outbox.unknown(conn, "XU", SESSIONS) == claimed
    assert claimed[0].instruction == order


async def test_the_next_claim_follows_on_one_that_is_not_marked_yet(database: Database) -> None:
    """At the bell the sends of one claim and the next claim go on side by side."""
    (user,) = await new_users(database, 1)
    for _ in range(3):
        await submit(database, user, "XN")
    claimed = []
    for _ in range(3):
        async with database.transaction() as conn:
            claimed += await outbox.claim(conn, "XN", SESSIONS, time.time_ns(), 1)
    assert [owed.order_id for owed in claimed] == sorted(owed.order_id for owed in claimed)
    assert len(claimed) == 3


async def test_what_one_exchange_has_claimed_and_not_sent_holds_back_the_user_s_next_at_another(
    database: Database,
) -> None:
    (user,) = await new_users(database, 1)
    first, second = await submit(database, user, "XO"), await submit(database, user, "XP")
    async with database.transaction() as conn:
        claimed = await outbox.claim(conn, "XO", SESSIONS, time.time_ns())
        assert await outbox.claim(conn, "XP", SESSIONS, time.time_ns()) == []
    async with database.transaction() as conn:
        await write(conn, [Sent(owed, time.time_ns(), False) for owed in claimed], [], time.time_ns())
        leaving = await outbox.claim(conn, "XP", SESSIONS, time.time_ns())
    assert [owed.order_id for owed in claimed + leaving] == [first, second]
