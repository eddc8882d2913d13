"""The desk's gate inside the submitting transaction: races counted once, reducing orders let through."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pytest
from redis.asyncio import Redis

from domain.exchange_terms import ExchangeTerms
from domain.margin import BlockOutcome, position_key, unit_margin
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side
from domain.risk_limits import RiskLimits
from domain.time import trade_date
from domain.trading_states import Cause, Scope, TradingState
from storage.database import Connection, Database
from storage.group_commit import GroupCommit
from storage.margin.view import ReleaseStep
from storage.orders import submissions
from storage.orders.submissions import Submission, SubmissionRequest
from storage.risk import risk_limits
from storage.risk.trading_states import StateTarget
from tests.support.builders import some_terms
from tests.support.contracts import front_future, front_option
from tests.support.desk import A_WORD, frozen, user
from tests.support.orders import a_new_order, acknowledge, an_order_id, new_users
from tests.support.portfolios import master, some_portfolios

CASH = 10_00_00_000_00
TCS_FUTURE = f"NSE:{front_future('TCS')}"
PRICE = 1_000_00
MIS = some_terms(instrument_id="NSE:SBIN", product=Product.MIS, price=PRICE, quantity=10)


def leaving(placed: PlacedOrder, at: int | None = None) -> ExchangeTerms:
    """As it was asked, margined `at` another price; an unpriced order at one that these tests do not see."""
    terms = placed.terms
    return ExchangeTerms(terms.order_type, terms.price, at or terms.price or 1)


async def an_account(database: Database, limits: RiskLimits | None = None) -> int:
    (user_id,) = await new_users(database, 1)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, CASH)
        )
        if limits is not None:
            await risk_limits.set_limits(conn, user_id, trade_date(time.time_ns()), limits, A_WORD)
    return user_id


async def placed(database: Database, user_id: int, terms: OrderTerms) -> PlacedOrder:
    """Acknowledged, and nothing more."""
    order_id = an_order_id()
    new = a_new_order(
        order_id, symbol=terms.symbol, side=terms.side, quantity=terms.quantity, price=terms.price
    )
    if terms.order_type is OrderType.MARKET:
        new = replace(new, order_type=OrderType.MARKET, price=None)
    async with database.transaction() as conn:
        seq = await acknowledge(conn, user_id, new, terms.exchange)
        await conn.execute(
            "UPDATE orders SET status = 'PENDING_VALIDATION', product = %s WHERE order_id = %s",
            (terms.product, order_id),
        )
    return PlacedOrder(order_id, user_id, seq, time.time_ns(), terms, "", "test")


@dataclass
class Desk:
    """Orders on their way through block and submit, as the order worker takes them."""

    database: Database
    redis: Redis
    at: int | None = None
    """What the market has made of their margin's price."""

    def __post_init__(self) -> None:
        self.portfolios = some_portfolios(self.database, self.redis)
        self.book = self.portfolios.view
        self.submitting = GroupCommit(self.database, self._group)

    async def _group(self, conn: Connection, asked: Sequence[SubmissionRequest]) -> list[Submission]:
        return await submissions.submit(conn, self.portfolios, asked)

    async def submit(
        self, user_id: int, terms: OrderTerms, day: date | None = None, *, by_house: bool = False
    ) -> str:
        """`passed`, or the code of the refusal."""
        order = await placed(self.database, user_id, terms)
        if by_house:
            async with self.database.transaction() as conn:
                await conn.execute(
                    "INSERT INTO house_orders (purpose, user_id, actor, key, created_at_ns)"
                    " SELECT order_id, user_id, 'test', idempotency_key, 1 FROM orders WHERE order_id = %s",
                    (order.order_id,),
                )
        kind = master()[terms.instrument_id].kind
        unit = unit_margin(kind, terms.product, terms.side, terms.price or PRICE, 20)
        assert unit is not None
        while True:
            position, nets = (
                position_key(terms.instrument_id, terms.product),
                terms.product is not Product.CNC,
            )
            block = await self.book.block(
                user_id, order.order_id, terms.side, position, nets, terms.quantity, unit
            )
            assert block.outcome is BlockOutcome.BLOCKED
            answer: Submission = await self.submitting.commit(
                SubmissionRequest(order, block, replace(leaving(order, self.at), day=day))
            )
            if answer.stale:
                await self.book.ensure(user_id)
            elif answer.refusal is None:
                return "passed"
            else:
                await self.book.follow([ReleaseStep(user_id, order.order_id, block.generation)])
                return answer.refusal.code.value


@pytest.fixture
def desk(database: Database, redis: Redis) -> Desk:
    return Desk(database, redis)


async def holding_intraday(
    database: Database, user_id: int, quantity: int, instrument: str = "NSE:SBIN"
) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO positions (user_id, instrument_id, product, buy_quantity, buy_value, open_cost)"
            " VALUES (%s, %s, 'MIS', %s, %s, %s)",
            (user_id, instrument, quantity, quantity * PRICE, quantity * PRICE),
        )


async def test_64_racing_orders_fill_the_exposure_limit_exactly(desk: Desk, database: Database) -> None:
    user_id = await an_account(
        database, RiskLimits(exposure=5 * 10 * PRICE, position=10**6, order_value=10**12)
    )
    answers = await asyncio.gather(*(desk.submit(user_id, MIS) for _ in range(64)))
    assert answers.count("passed") == 5
    assert answers.count("EXPOSURE_LIMIT_EXCEEDED") == 59


async def test_64_racing_orders_fill_the_position_limit_exactly(desk: Desk, database: Database) -> None:
    user_id = await an_account(database, RiskLimits(exposure=10**14, position=75, order_value=10**12))
    answers = await asyncio.gather(*(desk.submit(user_id, MIS) for _ in range(64)))
    assert answers.count("passed") == 7
    assert answers.count("POSITION_LIMIT_EXCEEDED") == 57


async def test_an_order_may_be_worth_its_limit_and_no_paisa_more(desk: Desk, database: Database) -> None:
    user_id = await an_account(database, RiskLimits(10**14, 10**6, order_value=10 * PRICE))
    assert await desk.submit(user_id, MIS) == "passed"
    assert await desk.submit(user_id, replace(MIS, price=PRICE + 5)) == "ORDER_VALUE_LIMIT_EXCEEDED"


async def test_a_reduced_account_may_close_what_it_holds_and_open_nothing(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database)
    await holding_intraday(database, user_id, 10)
    selling = replace(sold_above(MIS), quantity=6)
    async with frozen(database, user(user_id), TradingState.REDUCING, Cause.LIMITS):
        assert await desk.submit(user_id, MIS) == "REDUCE_ONLY"
        assert await desk.submit(user_id, selling) == "passed"
        # Four are left to close: six would open two.
        assert await desk.submit(user_id, selling) == "REDUCE_ONLY"
        assert await desk.submit(user_id, replace(selling, quantity=4)) == "passed"
    assert await desk.submit(user_id, MIS) == "passed"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        (StateTarget(Scope.ALL), "TRADING_HALTED"),
        (StateTarget(Scope.SEGMENT, "NSE:CASH"), "SEGMENT_HALTED"),
        (StateTarget(Scope.INSTRUMENT, "NSE:SBIN"), "INSTRUMENT_HALTED"),
        (StateTarget(Scope.SEGMENT, "NSE:FO"), "passed"),
        (StateTarget(Scope.INSTRUMENT, "BSE:SBIN"), "passed"),
    ],
)
async def test_a_freeze_holds_for_its_scope_and_no_other(
    desk: Desk, database: Database, subject: StateTarget, code: str
) -> None:
    user_id = await an_account(database)
    async with frozen(database, subject):
        assert await desk.submit(user_id, MIS) == code


async def test_on_a_banned_underlying_derivatives_may_only_be_reduced(desk: Desk, database: Database) -> None:
    user_id = await an_account(database)
    future = some_terms(instrument_id=TCS_FUTURE, product=Product.MIS, price=PRICE, quantity=175)
    await holding_intraday(database, user_id, 175, TCS_FUTURE)
    today: date = trade_date(time.time_ns())
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO derivative_bans VALUES (%s, 'NSE:TCS')", (today,))
    try:
        assert await desk.submit(user_id, future) == "BANNED_FOR_DERIVATIVES"
        assert await desk.submit(user_id, sold_above(future)) == "passed"
        share = some_terms(instrument_id="NSE:TCS", product=Product.MIS, price=PRICE, quantity=1)
        assert await desk.submit(user_id, share) == "passed"
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM derivative_bans WHERE trade_date = %s", (today,))
    assert await desk.submit(user_id, future) == "passed"


async def test_an_order_for_a_later_day_is_held_against_that_day_s_ban_list(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database)
    future = some_terms(instrument_id=TCS_FUTURE, product=Product.MIS, price=PRICE, quantity=175)
    today = trade_date(time.time_ns())
    later = today + timedelta(3)
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO derivative_bans VALUES (%s, 'NSE:TCS')", (later,))
    try:
        assert await desk.submit(user_id, future) == "passed"
        assert await desk.submit(user_id, future, day=later) == "BANNED_FOR_DERIVATIVES"
        assert await desk.submit(user_id, future, day=later + timedelta(1)) == "passed"
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM derivative_bans WHERE trade_date = %s", (later,))


async def test_the_latest_own_limits_go_before_the_house_s(desk: Desk, database: Database) -> None:
    user_id = await an_account(database)
    assert await desk.submit(user_id, MIS) == "passed"
    async with database.transaction() as conn:
        await risk_limits.set_limits(conn, user_id, date(2026, 1, 1), RiskLimits(0, 0, 0), A_WORD)
    assert await desk.submit(user_id, MIS) == "ORDER_VALUE_LIMIT_EXCEEDED"
    async with database.transaction() as conn:
        wide = RiskLimits(10**14, 10**6, 10**12)
        await risk_limits.set_limits(conn, user_id, date(2026, 1, 2), wide, A_WORD)
    assert await desk.submit(user_id, MIS) == "passed"


NIFTY_FUTURE = f"NSE:{front_future('NIFTY 50')}"
FUTURE = some_terms(instrument_id=NIFTY_FUTURE, product=Product.NRML, price=PRICE, quantity=130)
NIFTY_CALL = f"NSE:{front_option('NIFTY 50', 26_000, 'CE')}"
CALL = replace(FUTURE, instrument_id=NIFTY_CALL, price=300_00, quantity=65)
NIFTY = 25_938_85
"""The last close of the index in the master."""


def sold(terms: OrderTerms) -> OrderTerms:
    return replace(terms, side=Side.SELL)


def sold_above(terms: OrderTerms) -> OrderTerms:
    """So that it does not meet the client's own purchase."""
    return replace(sold(terms), price=(terms.price or 0) + 10)


def intraday(terms: OrderTerms) -> OrderTerms:
    return replace(terms, product=Product.MIS)


async def test_a_position_limit_is_the_contract_s_whatever_the_product(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database, RiskLimits(10**14, position=130, order_value=10**12))
    assert await desk.submit(user_id, FUTURE) == "passed"
    assert await desk.submit(user_id, intraday(FUTURE)) == "POSITION_LIMIT_EXCEEDED"
    assert await desk.submit(user_id, intraday(replace(FUTURE, quantity=65))) == "POSITION_LIMIT_EXCEEDED"
    # The other side of the contract is a position of its own, another contract too.
    assert await desk.submit(user_id, sold_above(intraday(FUTURE))) == "passed"
    assert await desk.submit(user_id, sold(replace(FUTURE, quantity=65))) == "POSITION_LIMIT_EXCEEDED"
    assert await desk.submit(user_id, replace(CALL, quantity=130)) == "passed"


async def test_what_is_held_in_one_product_counts_in_the_other_and_may_be_closed(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database, RiskLimits(10**14, position=130, order_value=10**12))
    await holding_intraday(database, user_id, 130, FUTURE.instrument_id)
    one = replace(FUTURE, quantity=65)
    assert await desk.submit(user_id, one) == "POSITION_LIMIT_EXCEEDED"
    # What is sold in another product closes nothing of it, and nothing of it is a hedge there.
    assert await desk.submit(user_id, sold(FUTURE)) == "passed"
    assert await desk.submit(user_id, sold(one)) == "POSITION_LIMIT_EXCEEDED"
    assert await desk.submit(user_id, sold_above(intraday(FUTURE))) == "passed"


async def test_of_a_group_across_products_each_order_finds_those_before_it(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database, RiskLimits(10**14, position=130, order_value=10**12))
    one = replace(FUTURE, quantity=65)
    answers = await asyncio.gather(
        *(desk.submit(user_id, intraday(one) if number % 2 else one) for number in range(16))
    )
    assert answers.count("passed") == 2
    assert answers.count("POSITION_LIMIT_EXCEEDED") == 14


async def test_an_option_sold_counts_at_its_underlying_and_one_bought_at_its_premium(
    desk: Desk, database: Database
) -> None:
    lot = 65 * NIFTY
    user_id = await an_account(database, RiskLimits(exposure=2 * lot, position=10**6, order_value=lot))
    assert await desk.submit(user_id, sold(replace(CALL, quantity=130))) == "ORDER_VALUE_LIMIT_EXCEEDED"
    # Resting in one product, then held in the other.
    assert await desk.submit(user_id, sold_above(CALL)) == "passed"
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO positions (user_id, instrument_id, product, sell_quantity, sell_value, open_cost)"
            " VALUES (%s, %s, 'MIS', 65, 1950000, -1950000)",
            (user_id, CALL.instrument_id),
        )
    assert await desk.submit(user_id, sold(CALL)) == "EXPOSURE_LIMIT_EXCEEDED"
    assert await desk.submit(user_id, CALL) == "EXPOSURE_LIMIT_EXCEEDED"
    # Buying back what was sold is worth its premium and adds nothing.
    await desk.book.rebuild(user_id)
    assert await desk.submit(user_id, intraday(CALL)) == "passed"
    buyer = await an_account(database, RiskLimits(10 * 65 * 300_00, 10**6, order_value=10 * 65 * 300_00))
    assert await desk.submit(buyer, replace(CALL, quantity=650)) == "passed"
    assert await desk.submit(buyer, CALL) == "EXPOSURE_LIMIT_EXCEEDED"


async def test_a_future_sold_below_the_market_counts_at_what_its_margin_was_reckoned_at(
    desk: Desk, database: Database
) -> None:
    user_id = await an_account(database, RiskLimits(10**14, 10**6, order_value=130 * PRICE))
    dear = replace(desk, at=PRICE + 5)
    assert await dear.submit(user_id, sold(FUTURE)) == "ORDER_VALUE_LIMIT_EXCEEDED"
    assert await desk.submit(user_id, sold(FUTURE)) == "passed"
    # What only closes is worth what was asked for it, wherever the market is.
    holder = await an_account(database, RiskLimits(10**14, 10**6, order_value=10 * PRICE))
    await holding_intraday(database, holder, 10)
    assert await dear.submit(holder, MIS) == "ORDER_VALUE_LIMIT_EXCEEDED"
    assert await dear.submit(holder, sold(MIS)) == "passed"


async def test_of_two_closing_orders_of_the_house_one_comes_too_late(desk: Desk, database: Database) -> None:
    """A freeze and the square-off at once: what closes no more would open the other side."""
    user_id = await an_account(database)
    await holding_intraday(database, user_id, 10)
    selling = replace(MIS, side=Side.SELL)
    answers = await asyncio.gather(*(desk.submit(user_id, selling, by_house=True) for _ in range(4)))
    assert sorted(answers) == ["REDUCE_ONLY"] * 3 + ["passed"]
