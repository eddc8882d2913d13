"""Sliced orders in the books: all or none at the margin, whoever races, whatever is repeated or lost."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from domain.departure import Departure
from domain.instruments import InstrumentKind
from domain.margin import BlockOutcome, position_key
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side
from storage import order_queue, refusals, submissions
from storage.database import Connection, Database
from storage.group_commit import GroupCommit
from storage.intake import Intake, OrderRequest
from storage.margin_book import ReleaseStep
from storage.slices import Sliced, SlicedIntake
from storage.submissions import Asked, Submission
from tests.support.builders import some_terms
from tests.support.orders import new_users
from tests.support.portfolios import master, some_portfolios

PRICE, UNIT = 1_000_00, 200_00
SLICES = [10, 10, 5]
WHOLE = sum(SLICES) * UNIT
TERMS = some_terms(instrument_id="NSE:SBIN", product=Product.MIS, price=PRICE, quantity=sum(SLICES))


class Desk:
    """Slices on their way through block and submit, as an order worker takes them."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self.database, self.portfolios = database, some_portfolios(database, redis)
        self.book = self.portfolios.view
        self.submitting = GroupCommit(database, self._group)
        self.intake = SlicedIntake(database, Intake(database, redis))

    async def _group(self, conn: Connection, asked: Sequence[Asked]) -> list[Submission]:
        return await submissions.submit(conn, self.portfolios, asked)

    async def account(self, cash: int) -> int:
        (user_id,) = await new_users(self.database, 1)
        async with self.database.transaction() as conn:
            await conn.execute(
                "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, cash)
            )
        return user_id

    async def place(self, user_id: int, terms: OrderTerms = TERMS) -> Sliced:
        body = hashlib.sha256(b"").digest()
        return await self.intake.accept(OrderRequest(user_id, uuid4(), body, terms, time.time_ns()), SLICES)

    async def claimed(self, sliced: Sliced) -> list[PlacedOrder]:
        """The slices as an order worker gets them; other tests' orders are left to their leases."""
        wanted, found = set(sliced.children), dict[int, PlacedOrder]()
        while wanted - found.keys():
            for placed in await order_queue.claim_orders(self.database, f"{uuid4()}", 1000, time.time_ns()):
                found[placed.order_id] = placed
        return [found[order_id] for order_id in sliced.children]

    async def submit(self, placed: PlacedOrder, *, ensure: bool = True) -> str:
        """`passed`, or the code of the refusal."""
        terms = placed.terms
        assert placed.slice_of is not None
        key, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        unit = UNIT if terms.product is Product.MIS else 0
        while True:
            block = await self.book.block(
                placed.user_id, placed.margin_id, terms.side, key, nets, placed.slice_of.quantity, unit
            )
            if block.outcome is not BlockOutcome.BLOCKED:
                return "MARGIN_INSUFFICIENT"
            leaves = Departure(OrderType.LIMIT, PRICE, PRICE)
            answer = await self.submitting.commit(Asked(placed, block, leaves))
            if answer.stale:
                await self.book.ensure(placed.user_id)
                continue
            if answer.refusal is not None or answer.spent:
                step = ReleaseStep(placed.user_id, placed.margin_id, block.generation)
                await self.book.follow([step])
            if answer.refusal is not None:
                return answer.refusal.code.value
            if ensure:
                await self.book.ensure(placed.user_id)
            return "passed"

    async def refuse(self, placed: PlacedOrder, code: str) -> bool:
        """As the workflow does after a refusal; whether it stands."""
        async with self.database.transaction() as conn:
            (answer,) = await refusals.refuse(conn, [refusals.Refused(placed, code, "a test")])
        return answer.stands

    async def held(self, user_id: int) -> tuple[int, int, int]:
        """Blocked in the view, in the ledger, and what the holds come to."""
        async with self.database.reading() as conn:
            found = await conn.execute(
                "SELECT blocked_margin, (SELECT COALESCE(sum(open_quantity * unit_margin), 0)::bigint"
                " FROM margin_holds h WHERE h.user_id = l.user_id) AS held"
                " FROM margin_ledger l WHERE user_id = %s",
                (user_id,),
            )
            row = await found.fetchone()
        view = await self.book.account(user_id)
        assert row is not None and view is not None
        return view.blocked, row["blocked_margin"], row["held"]


@pytest.fixture
def desk(database: Database, redis: Redis) -> Desk:
    return Desk(database, redis)


async def test_racing_sliced_orders_pass_whole_or_not_at_all(desk: Desk) -> None:
    """Money for three of eight, and then some that would cover a slice."""
    user_id = await desk.account(3 * WHOLE + SLICES[2] * UNIT)
    placed = [await desk.claimed(await desk.place(user_id)) for _ in range(8)]
    every = [one for slices in placed for one in slices]
    answers = dict(
        zip(
            (one.order_id for one in every),
            await asyncio.gather(*(desk.submit(one) for one in every)),
            strict=True,
        )
    )
    each = [{answers[one.order_id] for one in slices} for slices in placed]
    assert all(len(one) == 1 for one in each), each
    assert Counter(next(iter(one)) for one in each) == {"passed": 3, "MARGIN_INSUFFICIENT": 5}
    assert await desk.held(user_id) == (3 * WHOLE, 3 * WHOLE, 3 * WHOLE)


async def test_the_slices_submitted_first_take_the_others_along_and_repeats_change_nothing(
    desk: Desk, database: Database
) -> None:
    user_id = await desk.account(WHOLE)
    first, second, third = await desk.claimed(await desk.place(user_id))
    # The process dies between the commit and the rebuilding of the view.
    assert await desk.submit(second, ensure=False) == "passed"
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT count(*) AS n FROM exchange_outbox WHERE order_id = ANY(%s) AND kind = 'NEW'",
            ([first.order_id, second.order_id, third.order_id],),
        )
        assert await found.fetchone() == {"n": 3}
    for _ in range(2):
        assert [await desk.submit(one) for one in (first, second, third)] == ["passed"] * 3
        assert await desk.held(user_id) == (WHOLE, WHOLE, WHOLE)
    assert not await desk.refuse(third, "MARKET_CLOSED"), "it was submitted; it goes on"


async def test_what_one_slice_is_refused_for_refuses_all(desk: Desk) -> None:
    user_id = await desk.account(WHOLE)
    first, *others = await desk.claimed(await desk.place(user_id))
    # A gate closes between the first slice's validation and the others'.
    assert await desk.refuse(first, "MARKET_CLOSED")
    for one in others:
        assert await desk.submit(one) == "MARKET_CLOSED"
        assert await desk.refuse(one, "MARKET_CLOSED")
    assert await desk.held(user_id) == (0, 0, 0)


async def test_a_sliced_sale_needs_every_share(desk: Desk, database: Database) -> None:
    sale = some_terms(
        instrument_id="NSE:SBIN", product=Product.CNC, side=Side.SELL, price=PRICE, quantity=sum(SLICES)
    )
    for held, expected in ((24, "HOLDINGS_INSUFFICIENT"), (25, "passed")):
        user_id = await desk.account(WHOLE)
        async with database.transaction() as conn:
            await conn.execute(
                "INSERT INTO holdings (user_id, instrument_id, quantity, cost)"
                " VALUES (%s, 'NSE:SBIN', %s, 1)",
                (user_id, held),
            )
        slices = await desk.claimed(await desk.place(user_id, sale))
        answers: list[Any] = await asyncio.gather(*(desk.submit(one) for one in slices))
        assert set(answers) == {expected}
        async with database.reading() as conn:
            found = await conn.execute("SELECT blocked_quantity FROM holdings WHERE user_id = %s", (user_id,))
            assert await found.fetchone() == {"blocked_quantity": 25 if expected == "passed" else 0}


async def test_a_sliced_derivative_is_bound_as_the_whole(desk: Desk, database: Database) -> None:
    future = next(row for row in master().values() if row.kind is InstrumentKind.FUTURE)
    terms = some_terms(
        instrument_id=future.instrument_id, product=Product.NRML, price=PRICE, quantity=sum(SLICES)
    )
    first, *_ = await desk.claimed(await desk.place(await desk.account(0), terms))
    async with database.reading() as conn:
        whole = await desk.portfolios.preview(conn, replace(first, terms=terms, slice_of=None), 0)
    assert whole.increase > 0
    for cash, expected in ((whole.increase - 1, "MARGIN_INSUFFICIENT"), (whole.increase, "passed")):
        user_id = await desk.account(cash)
        slices = await desk.claimed(await desk.place(user_id, terms))
        answers: list[Any] = await asyncio.gather(*(desk.submit(one) for one in slices))
        assert set(answers) == {expected}
        await desk.book.ensure(user_id)
        view = await desk.book.account(user_id)
        assert view is not None
        assert view.available == (0 if expected == "passed" else cash)
