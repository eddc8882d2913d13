"""Sliced orders in the books: all or none at the margin, whoever races, whatever is repeated or lost."""

import asyncio
import hashlib
import time
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from domain.instruments import InstrumentKind
from domain.orders import OrderTerms, PlacedOrder, Product, Side
from storage.database import Database
from storage.journals import placed_orders
from storage.journals.intake import Intake
from storage.journals.order_requests import OrderRequest
from storage.orders import reject
from storage.orders.slices import SlicedIntake
from tests.support.builders import some_terms
from tests.support.portfolios import master
from tests.support.trading_floor import TradingFloor

PRICE, UNIT = 1_000_00, 200_00
SLICES = [10, 10, 5]
WHOLE = sum(SLICES) * UNIT
TERMS = some_terms(instrument_id="NSE:SBIN", product=Product.MIS, price=PRICE, quantity=sum(SLICES))


class SlicingFloor(TradingFloor):
    """Slices on their way through block and submit, as an order worker takes them."""

    async def slices(self, user_id: int, terms: OrderTerms = TERMS) -> list[PlacedOrder]:
        """Acknowledged, as a worker that claims them reads them."""
        intake = SlicedIntake(self.database, Intake(self.database, self.redis))
        request = OrderRequest(user_id, uuid4(), hashlib.sha256(b"").digest(), terms, time.time_ns())
        sliced = await intake.accept(request, SLICES)
        async with self.database.reading() as conn:
            found = await placed_orders.read(conn, sliced.children)
        return [found[order_id] for order_id in sliced.children]

    async def refuse(self, placed: PlacedOrder, code: str) -> bool:
        """As the workflow does after a refusal; whether it stands."""
        async with self.database.transaction() as conn:
            (answer,) = await reject.refuse(conn, [reject.RefusedOrder(placed, code, "a test")])
        return answer.stands

    async def decide(self, placed: PlacedOrder) -> str:
        """Submitted, or refused; what was submitted by a slice beside it goes on, as in the workflow."""
        answer = await self.submit(placed)
        return answer if answer != "passed" and await self.refuse(placed, answer) else "passed"

    async def held(self, user_id: int) -> tuple[int, int, int]:
        """Blocked in the view, in the ledger, and what the holds come to."""
        (row,) = await self.rows(
            "SELECT COALESCE(sum(open_quantity * unit_margin), 0)::bigint AS held FROM margin_holds"
            " WHERE user_id = %s",
            user_id,
        )
        view, ledger = await self.view.account(user_id), await self.ledger(user_id)
        assert view is not None
        return view.blocked, ledger["blocked_margin"], row["held"]


@pytest.fixture
def floor(database: Database, redis: Redis) -> SlicingFloor:
    return SlicingFloor(database, redis)


async def test_racing_sliced_orders_pass_whole_or_not_at_all(floor: SlicingFloor) -> None:
    """Money for three of eight, and then some that would cover a slice."""
    user_id = await floor.account(3 * WHOLE + SLICES[2] * UNIT)
    placed = [await floor.slices(user_id) for _ in range(8)]
    every = [one for slices in placed for one in slices]
    answers = dict(
        zip(
            (one.order_id for one in every),
            await asyncio.gather(*(floor.decide(one) for one in every)),
            strict=True,
        )
    )
    each = [{answers[one.order_id] for one in slices} for slices in placed]
    assert all(len(one) == 1 for one in each), each
    passed = Counter(next(iter(one)) for one in each)["passed"]
    # Two that race may refuse each other, a slice here and one there; what they leave is there for the next.
    assert 1 <= passed <= 3
    for _ in range(3 - passed):
        assert {await floor.decide(one) for one in await floor.slices(user_id)} == {"passed"}
    assert {await floor.decide(one) for one in await floor.slices(user_id)} == {"MARGIN_INSUFFICIENT"}
    assert await floor.held(user_id) == (3 * WHOLE, 3 * WHOLE, 3 * WHOLE)


async def test_the_slices_submitted_first_take_the_others_along_and_repeats_change_nothing(
    floor: SlicingFloor, database: Database
) -> None:
    user_id = await floor.account(WHOLE)
    first, second, third = await floor.slices(user_id)
    # The process dies between the commit and the rebuilding of the view.
    assert await floor.submit(second, ensure=False) == "passed"
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT count(*) AS n FROM exchange_outbox WHERE order_id = ANY(%s) AND kind = 'NEW'",
            ([first.order_id, second.order_id, third.order_id],),
        )
        assert await found.fetchone() == {"n": 3}
    for _ in range(2):
        assert [await floor.submit(one) for one in (first, second, third)] == ["passed"] * 3
        assert await floor.held(user_id) == (WHOLE, WHOLE, WHOLE)
    assert not await floor.refuse(third, "MARKET_CLOSED"), "it was submitted; it goes on"


async def test_what_one_slice_is_refused_for_refuses_all(floor: SlicingFloor) -> None:
    user_id = await floor.account(WHOLE)
    first, *others = await floor.slices(user_id)
    # A gate closes between the first slice's validation and the others'.
    assert await floor.refuse(first, "MARKET_CLOSED")
    for one in others:
        assert await floor.submit(one) == "MARKET_CLOSED"
        assert await floor.refuse(one, "MARKET_CLOSED")
    assert await floor.held(user_id) == (0, 0, 0)


async def test_a_sliced_sale_needs_every_share(floor: SlicingFloor, database: Database) -> None:
    sale = some_terms(
        instrument_id="NSE:SBIN", product=Product.CNC, side=Side.SELL, price=PRICE, quantity=sum(SLICES)
    )
    for held, expected in ((24, "HOLDINGS_INSUFFICIENT"), (25, "passed")):
        user_id = await floor.account(WHOLE)
        async with database.transaction() as conn:
            await conn.execute(
                "INSERT INTO holdings (user_id, instrument_id, quantity, cost)"
                " VALUES (%s, 'NSE:SBIN', %s, 1)",
                (user_id, held),
            )
        slices = await floor.slices(user_id, sale)
        answers: list[Any] = await asyncio.gather(*(floor.submit(one) for one in slices))
        assert set(answers) == {expected}
        async with database.reading() as conn:
            found = await conn.execute("SELECT blocked_quantity FROM holdings WHERE user_id = %s", (user_id,))
            assert await found.fetchone() == {"blocked_quantity": 25 if expected == "passed" else 0}


async def test_a_sliced_derivative_is_bound_as_the_whole(floor: SlicingFloor, database: Database) -> None:
    future = next(row for row in master().values() if row.kind is InstrumentKind.FUTURE)
    terms = some_terms(
        instrument_id=future.instrument_id, product=Product.NRML, price=PRICE, quantity=sum(SLICES)
    )
    first, *_ = await floor.slices(await floor.account(0), terms)
    async with database.reading() as conn:
        whole = await floor.portfolios.preview(conn, replace(first, terms=terms, slice_of=None), 0)
    assert whole.increase > 0
    for cash, expected in ((whole.increase - 1, "MARGIN_INSUFFICIENT"), (whole.increase, "passed")):
        user_id = await floor.account(cash)
        slices = await floor.slices(user_id, terms)
        answers: list[Any] = await asyncio.gather(*(floor.submit(one) for one in slices))
        assert set(answers) == {expected}
        await floor.view.ensure(user_id)
        view = await floor.view.account(user_id)
        assert view is not None
        assert view.available == (0 if expected == "passed" else cash)
