"""Changes under a freeze: none passes a halt; where reducing is allowed, what only takes away leaves."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.changes import Change
from domain.exchange_terms import ExchangeTerms
from domain.instruments import InstrumentKind
from domain.margin import position_key, unit_margin
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side
from domain.trading_states import Cause, TradingState
from storage.books import booking
from storage.database import Database
from storage.journals import frozen_outbox, order_queue, outbox
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.orders import changes, submissions
from storage.orders.cancellations import CancelledBy, cancel
from storage.orders.submissions import SubmissionRequest
from tests.support.builders import a_report, some_terms, some_trades
from tests.support.desk import frozen, user
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users
from tests.support.portfolios import some_portfolios

CASH = 10_00_000_00
PRICE, PERCENT = 1_000_00, 20
SESSIONS = ["S0", "S1"]


class Working:
    """An order that rests at the exchange: ten shares at Rs 1,000, intraday unless said otherwise."""

    def __init__(self, database: Database, redis: Redis, placed: PlacedOrder) -> None:
        self.database, self.placed, self.portfolios = database, placed, some_portfolios(database, redis)
        self.book = self.portfolios.view
        self.requests = 0

    @classmethod
    async def rest(cls, database: Database, redis: Redis, **more: Any) -> "Working":
        (user_id,) = await new_users(database, 1)
        facts = {"instrument_id": "NSE:SBIN", "product": Product.MIS, "price": PRICE, "quantity": 10}
        terms = some_terms(**(facts | more))
        new = a_new_order(an_order_id(), symbol="SBIN", side=terms.side, quantity=10, price=PRICE)
        async with database.transaction() as conn:
            await conn.execute(
                "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, CASH)
            )
            seq = await acknowledge(conn, user_id, new)
            await conn.execute(
                "UPDATE orders SET status = 'PENDING_VALIDATION', product = %s WHERE order_id = %s",
                (terms.product, int(new.cl_ord_id)),
            )
        placed = PlacedOrder(int(new.cl_ord_id), user_id, seq, time.time_ns(), terms, "", "test")
        order = cls(database, redis, placed)
        await order.book.ensure(user_id)
        unit = unit_margin(InstrumentKind.EQUITY, terms.product, terms.side, PRICE, PERCENT)
        assert unit is not None
        key = position_key(terms.instrument_id, terms.product)
        nets = terms.product is not Product.CNC
        block = await order.book.block(user_id, placed.order_id, terms.side, key, nets, 10, unit)
        async with database.transaction() as conn:
            leaves = ExchangeTerms(OrderType.LIMIT, PRICE, PRICE)
            (answer,) = await submissions.submit(
                conn, order.portfolios, [SubmissionRequest(placed, block, leaves)]
            )
            assert answer.refusal is None
            await conn.execute(
                "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1, answered_at_ns = 1,"
                " session = 'S' WHERE order_id = %s",
                (placed.order_id,),
            )
        await order.tell(a_report(placed.order_id, symbol="SBIN"))
        return order

    async def tell(self, *reports: Any) -> None:
        now = time.time_ns()
        arrivals = [
            Arrival("NSE", f"S{self.placed.order_id}", n, told, now) for n, told in enumerate(reports, 1)
        ]
        async with self.database.transaction() as conn:
            await write(conn, [], arrivals, now)

    async def change(self, **asked: Any) -> str:
        """`asked`, or the code of the refusal."""
        self.requests += 1

        def judge(stands: changes.ChangeableOrder, terms: OrderTerms) -> tuple[ExchangeTerms, int]:
            price = terms.price or 0
            unit = unit_margin(InstrumentKind.EQUITY, terms.product, terms.side, price, PERCENT)
            return ExchangeTerms(terms.order_type, price, price), unit or 0

        async with self.database.transaction() as conn:
            request = f"{self.placed.order_id}-{self.requests}"
            changed = await changes.change(
                conn, self.portfolios, self.placed, request, Change(**asked), judge, PERCENT
            )
        assert not changed.stale
        return changed.refusal.code.value if changed.refusal else "asked"

    async def claim(self) -> list[str]:
        async with self.database.transaction() as conn:
            claimed = await outbox.claim(conn, "NSE", SESSIONS, time.time_ns())
        return [owed.kind for owed in claimed if owed.order_id == self.placed.order_id]

    async def withdraw(self) -> list[dict[str, Any]]:
        async with self.database.transaction() as conn:
            told = await frozen_outbox.withdraw(conn, "NSE")
        return [update.body for update in told if update.body["order_id"] == str(self.placed.order_id)]

    async def booked(self) -> None:
        async with self.database.transaction() as conn:
            await booking.book(conn, self.portfolios, [self.placed], PERCENT)

    async def blocked(self) -> int:
        """In the ledger, and the same in the view and in the hold."""
        async with self.database.reading() as conn:
            found = await conn.execute(
                "SELECT blocked_margin, open_quantity * unit_margin AS held, changed_unit FROM margin_ledger"
                " JOIN margin_holds USING (user_id) WHERE order_id = %s",
                (self.placed.order_id,),
            )
            row = await found.fetchone()
        view = await self.book.account(self.placed.user_id)
        assert row is not None and view is not None
        assert view.blocked == row["held"] == row["blocked_margin"]
        return int(row["blocked_margin"])

    async def due(self) -> bool:
        """Whether its workflow is to be told of a withdrawal now."""
        pages = [await order_queue.withdrawals_due(self.database, time.time_ns()) for _ in range(3)]
        return any(self.placed.order_id in page for page in pages)


STOPPED = {
    "more quantity": {"quantity": 11},
    "a dearer price": {"price": PRICE + 100},
    "less at a dearer price": {"quantity": 5, "price": PRICE + 100},
}
TAKEN_AWAY = {"less quantity": {"quantity": 9}, "a lower price": {"price": PRICE - 100}}


@pytest.mark.parametrize(
    ("state", "code"), [(TradingState.HALTED, "USER_FROZEN"), (TradingState.REDUCING, "REDUCE_ONLY")]
)
async def test_a_change_that_enlarges_an_order_is_refused_under_every_freeze(
    database: Database, redis: Redis, state: TradingState, code: str
) -> None:
    for asked in STOPPED.values():
        order = await Working.rest(database, redis)
        async with frozen(database, user(order.placed.user_id), state):
            before = await order.blocked()
            assert await order.change(**asked) == code
            assert await order.blocked() == before


@pytest.mark.parametrize("asked", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
async def test_what_takes_away_from_an_order_passes_where_reducing_does_and_a_halt_stops_it(
    database: Database, redis: Redis, asked: dict[str, int]
) -> None:
    order = await Working.rest(database, redis)
    async with frozen(database, user(order.placed.user_id), TradingState.REDUCING):
        assert await order.change(**asked) == "asked"
        assert await order.claim() == ["REPLACE"]
    halted = await Working.rest(database, redis)
    async with frozen(database, user(halted.placed.user_id)):
        assert await halted.change(**asked) == "USER_FROZEN"
        assert await halted.claim() == []


@pytest.mark.parametrize("asked", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
async def test_a_change_that_is_owed_when_the_halt_comes_never_leaves(
    database: Database, redis: Redis, asked: dict[str, int]
) -> None:
    order = await Working.rest(database, redis)
    before = await order.blocked()
    assert await order.change(**asked) == "asked"
    async with frozen(database, user(order.placed.user_id)):
        assert await order.claim() == []
        (told,) = await order.withdraw()
        assert (told["event"], told["reject_code"]) == ("CHANGE_WITHDRAWN", "USER_FROZEN")
    assert await order.due()
    await order.booked()
    assert await order.blocked() == before


async def test_a_sale_s_price_stays_where_it_is_under_a_freeze(database: Database, redis: Redis) -> None:
    for price in (PRICE - 100, PRICE + 100):
        order = await Working.rest(database, redis, side=Side.SELL)
        async with frozen(database, user(order.placed.user_id)):
            assert await order.change(price=price) == "USER_FROZEN"


async def test_a_change_that_a_freeze_overtakes_does_not_leave_and_gives_its_margin_back(
    database: Database, redis: Redis
) -> None:
    order = await Working.rest(database, redis)
    before = await order.blocked()
    assert await order.change(quantity=20, price=PRICE + 1000) == "asked"
    assert await order.blocked() > before
    async with frozen(database, user(order.placed.user_id)):
        assert await order.claim() == []
        (told,) = await order.withdraw()
        assert (told["event"], told["status"]) == ("CHANGE_WITHDRAWN", "OPEN")
        assert told["reject_code"] == "USER_FROZEN"
        assert await order.withdraw() == []
    # Lifted, it is still withdrawn; another change is decided on the margin that is back.
    assert await order.claim() == []
    assert await order.change(quantity=9) == "asked"
    assert await order.blocked() == before
    assert await order.due(), "the workflow does not know yet"
    await order.booked()
    assert not await order.due()
    assert await order.claim() == ["REPLACE"]


async def test_a_withdrawn_change_leaves_the_hold_of_what_is_left(database: Database, redis: Redis) -> None:
    order = await Working.rest(database, redis)
    assert await order.change(quantity=20) == "asked"
    async with frozen(database, user(order.placed.user_id)):
        await order.withdraw()
    (fill,) = some_trades(order.placed.order_id, [(4, PRICE)])
    await order.tell(fill)
    await order.booked()
    assert await order.blocked() == 6 * PRICE * PERCENT // 100


async def test_a_reducing_order_may_be_changed_while_it_stays_one(database: Database, redis: Redis) -> None:
    order = await Working.rest(database, redis, product=Product.MIS)
    async with database.transaction() as conn:
        # As if it closed a position: nothing of it opens one.
        await conn.execute(
            "UPDATE margin_holds SET close_quantity = open_quantity, open_quantity = 0 WHERE order_id = %s",
            (order.placed.order_id,),
        )
        await conn.execute(
            "UPDATE margin_ledger SET blocked_margin = 0 WHERE user_id = %s", (order.placed.user_id,)
        )
    await order.book.rebuild(order.placed.user_id)
    async with frozen(database, user(order.placed.user_id), TradingState.REDUCING, Cause.LIMITS):
        assert await order.change(price=PRICE + 100) == "asked"
        assert await order.claim() == ["REPLACE"]
    other = await Working.rest(database, redis)
    async with frozen(database, user(other.placed.user_id), TradingState.REDUCING):
        assert await other.change(price=PRICE + 100) == "REDUCE_ONLY"


async def test_a_cancel_leaves_under_every_freeze(database: Database, redis: Redis) -> None:
    order = await Working.rest(database, redis)
    async with frozen(database, user(order.placed.user_id)):
        async with database.transaction() as conn:
            done = await cancel(conn, [order.placed.order_id], CancelledBy("client"))
        assert done.outcomes[order.placed.order_id].refusal is None
        assert await order.claim() == ["CANCEL"]
