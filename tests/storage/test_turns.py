"""Claims take turns: whoever has many orders waiting keeps nobody else's from being started."""

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from domain.order_rules import OrderRules, SelfTradePolicy
from domain.orders import PlacedOrder
from storage.database import Database
from storage.journals import order_queue
from storage.journals.intake import Intake
from storage.journals.order_queue import IN_HAND_MAX
from storage.journals.order_requests import OrderRequest
from storage.orders import reject
from tests.support.builders import some_terms
from tests.support.orders import an_order_id, new_users

MOST = 40
"""In hand of one worker, as settings have it."""


_WAITING = """
    WITH placed AS (
        INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product, validity,
                            quantity, price, idempotency_key, created_at_ns, updated_at_ns)
        SELECT %(first)s + nth, user_id, 'NSE:RELIANCE', 'LIMIT', 'BUY', 'CNC', 'DAY', 1, 245000,
               gen_random_uuid(), %(at)s, %(at)s
        FROM unnest(%(users)s::bigint[]) WITH ORDINALITY AS u (user_id, nth) RETURNING order_id, user_id)
    INSERT INTO order_intake (order_id, user_id, accepted_at_ns, turn_ns)
    SELECT order_id, user_id, %(at)s,
           %(at)s + 100000000 * (row_number() OVER (PARTITION BY user_id ORDER BY order_id) - 1) FROM placed
"""


@pytest.fixture(autouse=True)
async def nobody_waits(database: Database) -> None:
    """What other tests have left in the intake is nobody's to claim."""
    async with database.transaction() as conn:
        await conn.execute("UPDATE order_intake SET started_at_ns = 1 WHERE started_at_ns IS NULL")


@pytest.fixture
def worker(database: Database, redis: Redis) -> "Worker":
    return Worker(database, redis)


def uncapped(_: date) -> OrderRules:
    return OrderRules(100_000, SelfTradePolicy.CANCEL_NEWEST)


class Worker:
    """Claims as an order worker does; every order that it takes is refused."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self.database, self.name = database, f"{uuid4()}"
        self.intakes = [Intake(database, redis, uncapped) for _ in range(2)]

    async def place(self, user_id: int, number: int) -> list[int]:
        """At once, through two processes of the API; in the order of their places."""
        asked = [OrderRequest(user_id, uuid4(), b"", some_terms(), time.time_ns()) for _ in range(number)]
        await asyncio.gather(*(self.intakes[n % 2].accept(one) for n, one in enumerate(asked)))
        async with self.database.reading() as conn:
            found = await conn.execute(
                "SELECT order_id FROM order_intake WHERE user_id = %s ORDER BY seq", (user_id,)
            )
            return [row["order_id"] for row in await found.fetchall()]

    async def claim(self, most: int = MOST) -> list[PlacedOrder]:
        return await order_queue.claim_orders(self.database, self.name, most, time.time_ns())

    async def refuse(self, claimed: Sequence[PlacedOrder]) -> None:
        await order_queue.mark_started(self.database, [one.order_id for one in claimed], time.time_ns())
        async with self.database.transaction() as conn:
            await reject.refuse(
                conn, [reject.RefusedOrder(one, "MARKET_CLOSED", "a test") for one in claimed]
            )


async def test_an_order_behind_600_of_another_client_is_claimed_in_the_next_round(worker: Worker) -> None:
    heavy, light = await new_users(worker.database, 2)
    backlog = await worker.place(heavy, 600)
    in_hand = await worker.claim()
    assert {one.user_id for one in in_hand} == {heavy}
    [order] = await worker.place(light, 1)
    assert order in [one.order_id for one in await worker.claim()]
    await worker.refuse(in_hand)
    assert [one.order_id for one in in_hand] == backlog[: len(in_hand)]


async def test_an_order_among_nine_backlogs_waits_for_its_turn_not_for_them(
    worker: Worker,
) -> None:
    """Theirs fill the worker's hands; of what it takes up after that, the newcomer's is among the first."""
    *heavy, light = await new_users(worker.database, 10)
    for user_id in heavy:
        await worker.place(user_id, 60)
    in_hand = await worker.claim()
    assert len(in_hand) == MOST
    [order] = await worker.place(light, 1)
    taken: list[int] = []
    while order not in taken:
        await worker.refuse(in_hand)
        in_hand = await worker.claim()
        taken += [one.order_id for one in in_hand]
    assert len(taken) <= 3 * MOST


async def test_each_client_s_orders_are_claimed_as_they_were_acknowledged(worker: Worker) -> None:
    users = await new_users(worker.database, 3)
    acknowledged = {user_id: await worker.place(user_id, 40) for user_id in users}
    claimed: dict[int, list[int]] = {user_id: [] for user_id in users}
    while any(len(claimed[user_id]) < 40 for user_id in users):
        in_hand = await worker.claim()
        for user_id in users:
            own = [one.order_id for one in in_hand if one.user_id == user_id]
            assert len(own) <= IN_HAND_MAX
            claimed[user_id] += own
        assert max(map(len, claimed.values())) - min(map(len, claimed.values())) <= IN_HAND_MAX
        await worker.refuse(in_hand)
    assert claimed == acknowledged


async def test_no_more_than_ten_orders_of_a_client_are_in_hand_whoever_claims(
    worker: Worker, redis: Redis
) -> None:
    (user_id,) = await new_users(worker.database, 1)
    await worker.place(user_id, 30)
    assert len(await worker.claim()) == IN_HAND_MAX
    assert await Worker(worker.database, redis).claim() == []


async def test_a_claim_finds_its_orders_among_10_000_by_their_turns(database: Database) -> None:
    """One client's backlog, and an order of each of a hundred others."""
    heavy, *light = await new_users(database, 101)
    now = time.time_ns()
    values = {"owner": f"{uuid4()}", "most": MOST, "now": now, "lease": order_queue.LEASE_NS, "oldest": 0}
    async with database.transaction() as conn, conn.transaction(force_rollback=True):
        await conn.execute(_WAITING, {"users": [heavy] * 10_000, "at": now, "first": an_order_id()})
        await conn.execute(_WAITING, {"users": light, "at": now, "first": an_order_id() + 20_000})
        explained = await conn.execute(f"EXPLAIN (ANALYZE, BUFFERS) {order_queue.CLAIM}".encode(), values)
        plan = "\n".join(row["QUERY PLAN"] for row in await explained.fetchall())
    assert "order_intake_turns" in plan, plan
    assert "Seq Scan on order_intake" not in plan, plan
