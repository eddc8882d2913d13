"""The acknowledgement: durable, once, in order, whoever races."""

import asyncio
import hashlib
import itertools
import time
from dataclasses import replace
from datetime import date
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import DictRow
from redis.asyncio import Redis

from domain.order_rules import OrderRules, SelfTradePolicy
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from storage.database import Database
from storage.journals.intake import Intake
from storage.journals.order_requests import Acknowledgement, IdempotencyConflict, OrderRequest, OrdersRefused
from storage.orders.slices import SlicedIntake
from tests.storage.test_margin_book import open_account
from tests.support.builders import some_terms

AT_NS = time.time_ns()
_users = itertools.count(980_000)


@pytest.fixture
async def user(database: Database) -> int:
    user_id = next(_users)
    await open_account(database, user_id, 0)
    return user_id


@pytest.fixture
def intake(database: Database, redis: Redis) -> Intake:
    return Intake(database, redis)


def a_request(user_id: int, key: UUID | None = None, body: bytes = b"body") -> OrderRequest:
    return OrderRequest(user_id, key or uuid4(), hashlib.sha256(body).digest(), some_terms(), AT_NS)


async def rows(database: Database, table: str, user_id: int) -> list[DictRow]:
    async with database.reading() as conn:
        found = await conn.execute(f"SELECT * FROM {table} WHERE user_id = %s".encode(), (user_id,))
        return await found.fetchall()


async def test_an_acknowledged_order_stands_in_every_book(
    database: Database, intake: Intake, user: int
) -> None:
    acknowledged = await intake.accept(a_request(user))
    assert str(acknowledged.order_id).startswith(f"{trade_date(AT_NS):%y%m%d}")
    assert len(str(acknowledged.order_id)) == 15
    [order] = await rows(database, "orders", user)
    assert (order["order_id"], order["status"], order["price"]) == (
        acknowledged.order_id,
        "PENDING_VALIDATION",
        245050,
    )
    [record] = await rows(database, "audit_log", user)
    assert (record["event"], record["user_seq"], record["detail"]["price"]) == ("ACCEPTED", 1, "2450.50")
    assert len(await rows(database, "order_intake", user)) == 1


async def test_of_64_racing_repeats_one_is_an_order_and_all_hear_of_it(
    database: Database, redis: Redis, user: int
) -> None:
    request = a_request(user)
    intakes = [Intake(database, redis) for _ in range(4)]  # as four API processes would
    answers = await asyncio.gather(*(intakes[n % 4].accept(request) for n in range(64)))
    assert len({answer.order_id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    for table in ("orders", "audit_log", "order_intake", "idempotency_keys"):
        assert len(await rows(database, table, user)) == 1


async def test_a_later_repeat_gets_the_first_answer(intake: Intake, user: int) -> None:
    request = a_request(user)
    first = await intake.accept(request)
    again = await intake.accept(replace(request, received_at_ns=AT_NS + 5))
    assert again == Acknowledgement(first.order_id, AT_NS, replayed=True)


async def test_the_same_key_with_another_body_is_a_conflict(
    database: Database, intake: Intake, user: int
) -> None:
    key = uuid4()
    first = await intake.accept(a_request(user, key))
    with pytest.raises(IdempotencyConflict, match=str(first.order_id)):
        await intake.accept(a_request(user, key, b"another"))
    assert len(await rows(database, "orders", user)) == 1


async def test_two_users_may_use_the_same_key(database: Database, intake: Intake, user: int) -> None:
    other = next(_users)
    await open_account(database, other, 0)
    key = uuid4()
    answers = await asyncio.gather(intake.accept(a_request(user, key)), intake.accept(a_request(other, key)))
    assert not any(answer.replayed for answer in answers)


async def test_one_bad_order_does_not_take_down_its_batch(
    database: Database, intake: Intake, user: int
) -> None:
    nobody = 10**12
    answers = await asyncio.gather(
        *(intake.accept(a_request(u)) for u in (user, nobody, user)), return_exceptions=True
    )
    assert isinstance(answers[1], psycopg.Error)
    assert isinstance(answers[0], Acknowledgement)
    assert isinstance(answers[2], Acknowledgement)
    assert len(await rows(database, "orders", user)) == 2


async def test_each_users_places_follow_his_acknowledgements(
    database: Database, redis: Redis, user: int
) -> None:
    others = [next(_users) for _ in range(3)]
    for other in others:
        await open_account(database, other, 0)
    intakes = [Intake(database, redis) for _ in range(2)]

    async def one_after_another(user_id: int) -> list[int]:
        return [(await intakes[n % 2].accept(a_request(user_id))).order_id for n in range(20)]

    acknowledged = await asyncio.gather(*(one_after_another(u) for u in (user, *others)))
    for user_id, expected in zip((user, *others), acknowledged, strict=True):
        places = sorted(await rows(database, "order_intake", user_id), key=lambda row: row["seq"])
        assert [row["order_id"] for row in places] == expected


async def test_a_client_that_goes_away_does_not_take_its_batch_with_it(
    database: Database, intake: Intake, user: int
) -> None:
    gone = asyncio.create_task(intake.accept(a_request(user)))
    stays = asyncio.create_task(intake.accept(a_request(user)))
    await asyncio.sleep(0)
    gone.cancel()
    assert not (await stays).replayed
    assert len(await rows(database, "orders", user)) == 2


def few(_: date) -> OrderRules:
    return OrderRules(5, SelfTradePolicy.CANCEL_NEWEST)


async def end(database: Database, order_id: int) -> None:
    async with database.transaction() as conn:
        await conn.execute("UPDATE orders SET status = 'CANCELLED' WHERE order_id = %s", (order_id,))


async def test_of_24_orders_placed_at_once_as_many_are_taken_as_an_account_may_have(
    database: Database, redis: Redis, user: int
) -> None:
    """Through four processes, beside another client who stays below his own limit."""
    other = next(_users)
    await open_account(database, other, 0)
    intakes = [Intake(database, redis, few) for _ in range(4)]
    requests = [a_request(user) for _ in range(24)] + [a_request(other) for _ in range(4)]
    answers = await asyncio.gather(
        *(intakes[n % 4].accept(one) for n, one in enumerate(requests)), return_exceptions=True
    )
    taken = [answer for answer in answers[:24] if isinstance(answer, Acknowledgement)]
    refused = [answer for answer in answers[:24] if isinstance(answer, OrdersRefused)]
    assert (len(taken), len(refused)) == (5, 19)
    assert {one.refusal for one in refused} == {Refusal(RejectCode.OPEN_ORDERS_LIMIT_REACHED, limit="5")}
    assert all(isinstance(answer, Acknowledgement) for answer in answers[24:])
    for table in ("orders", "audit_log", "order_intake", "idempotency_keys"):
        assert len(await rows(database, table, user)) == 5


async def test_a_full_account_is_answered_repeats_and_has_room_again_when_an_order_ends(
    database: Database, redis: Redis, user: int
) -> None:
    intake, first = Intake(database, redis, few), a_request(user)
    one = await intake.accept(first)
    for _ in range(4):
        await intake.accept(a_request(user))
    beyond = a_request(user)
    again, refused, twice = await asyncio.gather(
        *(intake.accept(request) for request in (first, beyond, beyond)), return_exceptions=True
    )
    assert again == Acknowledgement(one.order_id, AT_NS, replayed=True)
    assert isinstance(refused, OrdersRefused) and isinstance(twice, OrdersRefused)
    await end(database, one.order_id)
    assert not (await intake.accept(beyond)).replayed, "the key was never used"


async def test_slices_count_one_by_one_and_fit_together_or_not_at_all(
    database: Database, redis: Redis, user: int
) -> None:
    intake = Intake(database, redis, few)
    sliced = SlicedIntake(database, intake)
    await sliced.accept(a_request(user), [10, 10, 10])
    with pytest.raises(OrdersRefused):
        await sliced.accept(a_request(user), [10, 10, 10])
    assert len(await rows(database, "orders", user)) == 3
    assert len(await rows(database, "sliced_orders", user)) == 1
    await sliced.accept(a_request(user), [10, 10])
    with pytest.raises(OrdersRefused):
        await intake.accept(a_request(user))


async def test_orders_of_the_house_find_room_in_a_full_account(
    database: Database, redis: Redis, user: int
) -> None:
    intake = Intake(database, redis, few)
    for _ in range(5):
        await intake.accept(a_request(user))
    assert not (await intake.accept(replace(a_request(user), actor="square-off"))).replayed
