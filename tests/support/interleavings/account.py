"""The account of a scenario, and the one place where the explorer calls storage/: as the processes call it.

Each call is what one process does in one go: its transaction and what it does after the commit. `database`
decides whether the transaction stops, dies or commits.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import count
from uuid import uuid4

from redis.asyncio import Redis

from domain.changes import Change, change_refusals
from domain.exchange_terms import ExchangeTerms
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.margin import Block, BlockOutcome, position_key, unit_margin
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product
from domain.rejects import Refusal
from domain.reports import CancelRejected, ExecutionReport
from domain.span import ContractKind
from domain.trading_states import Cause, TradingState
from storage.books import booking
from storage.books.keeping import BookKeeping
from storage.database import Database
from storage.journals import frozen_outbox, intake, outbox
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.journals.order_requests import OrderRequest
from storage.journals.outbox import OutboxRow, Sent
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView, ReleaseStep
from storage.orders import changes, reject, submissions
from storage.orders.cancellations import CancelledBy
from storage.orders.canceller import OrderCanceller
from storage.orders.changes import ChangeableOrder
from storage.risk import trading_states
from tests.support import derivatives
from tests.support.builders import an_instrument, some_terms
from tests.support.desk import A_WORD, user
from tests.support.interleavings.scenario import Scenario
from tests.support.orders import an_order_id, new_users

PERCENT = 20
_numbers = count(1)
PARAMETERS = derivatives.some_parameters(
    [
        derivatives.a_contract(derivatives.future("ALPHA", derivatives.NEAR)),
        derivatives.a_contract(derivatives.option("ALPHA", ContractKind.CALL)),
    ]
)


@dataclass
class Account:
    database: Database
    redis: Redis
    listed: Instrument
    user_id: int
    orders: dict[str, PlacedOrder]

    def __post_init__(self) -> None:
        view, instruments = MarginView(self.redis, self.database), {self.listed.instrument_id: self.listed}
        self.portfolios = DerivativeMargins(view, instruments, lambda _: PARAMETERS)
        self.session = f"FIX.4.2:TEST->{self.listed.exchange}"

    def unit(self, order: PlacedOrder, price: int) -> int:
        terms = order.terms
        unit = unit_margin(self.listed.kind, terms.product, terms.side, price, PERCENT)
        assert unit is not None
        return unit

    async def place(self, database: Database, order: PlacedOrder) -> int:
        """Its place among all orders."""
        request = OrderRequest(self.user_id, uuid4(), b"", order.terms, order.accepted_at_ns)
        async with database.transaction() as conn:
            await intake.record(conn, [(order.order_id, request)])
            found = await conn.execute("SELECT seq FROM order_intake WHERE order_id = %s", (order.order_id,))
            row = await found.fetchone()
        assert row is not None
        return int(row["seq"])

    async def block(self, database: Database, order: PlacedOrder) -> Block | None:
        """None when the order is refused for its margin."""
        terms = order.terms
        position, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        unit = self.unit(order, terms.price or 0)
        of_order = (self.user_id, order.order_id, terms.side, position, nets, terms.quantity, unit)
        block = await self._keeping(database).block(*of_order)
        if block.outcome is BlockOutcome.BLOCKED:
            return block
        await self._refuse(database, order, "MARGIN_INSUFFICIENT")
        return None

    async def submit(self, database: Database, order: PlacedOrder, block: Block) -> None:
        """What is stale is to be blocked again, what is refused ends."""
        price = order.terms.price
        assert price is not None
        asked = submissions.SubmissionRequest(
            order, block, ExchangeTerms(order.terms.order_type, price, price)
        )
        async with database.transaction() as conn:
            (answer,) = await submissions.submit(conn, self.portfolios, [asked])
        if answer.stale:
            await self.portfolios.view.ensure(self.user_id)
        elif answer.refusal is not None and await self._keeping(database).catch_up([self.user_id]):
            await self.portfolios.view.rebuild(self.user_id)
        elif answer.refusal is not None or answer.spent:
            step = ReleaseStep(self.user_id, order.order_id, block.generation)
            await self.portfolios.view.follow([step])
            if answer.refusal is not None:
                await self._refuse(database, order, answer.refusal.code)

    def _keeping(self, database: Database) -> BookKeeping:
        return BookKeeping(database, self.redis, self.portfolios, PERCENT)

    async def _refuse(self, database: Database, order: PlacedOrder, code: str) -> None:
        async with database.transaction() as conn:
            await reject.refuse(conn, [reject.RefusedOrder(order, code, "")])

    async def change(
        self, database: Database, order: PlacedOrder, number: int, quantity: int, price: int
    ) -> None:
        asked, cl_ord_id = Change(quantity, price), f"{order.order_id}-{number}"

        def judge(stands: ChangeableOrder, terms: OrderTerms) -> tuple[ExchangeTerms, int] | Refusal:
            facts = (stands.terms, asked, stands.filled, stands.changes, self.listed, date(2026, 11, 24))
            refused = change_refusals(*facts)
            return (
                refused[0]
                if refused
                else (ExchangeTerms(terms.order_type, price, price), self.unit(order, price))
            )

        while True:
            async with database.transaction() as conn:
                answer = await changes.change(conn, self.portfolios, order, cl_ord_id, asked, judge, PERCENT)
            await self._keeping(database).follow_up(answer.booked)
            if not answer.stale:
                return
            await self.portfolios.view.ensure(self.user_id)

    async def cancel(self, database: Database, order: PlacedOrder) -> None:
        await OrderCanceller(database, self.redis).cancel([order.order_id], CancelledBy("client"))

    async def book(self, database: Database, order: PlacedOrder) -> None:
        async with database.transaction() as conn:
            booked = await booking.book(conn, self.portfolios, [order], PERCENT)
        await self._keeping(database).follow_up(booked)

    async def claim(self, database: Database) -> list[OutboxRow]:
        async with database.transaction() as conn:
            return await outbox.claim(conn, self.listed.exchange, [self.session], time.time_ns())

    async def claimed(self, database: Database) -> list[OutboxRow]:
        """Before, and not marked sent."""
        async with database.transaction() as conn:
            return await outbox.unknown(conn, self.listed.exchange, [self.session])

    async def mark(self, database: Database, owed: Sequence[OutboxRow]) -> None:
        now = time.time_ns()
        async with database.transaction() as conn:
            await write(conn, [Sent(one, now, False) for one in owed], [], now)

    async def journal(self, database: Database, report: ExecutionReport | CancelRejected) -> None:
        now = time.time_ns()
        async with database.transaction() as conn:
            await write(conn, [], [Arrival(self.listed.exchange, self.session, 1, report, now)], now)

    async def freeze(self, database: Database) -> None:
        of_account = user(self.user_id), TradingState.HALTED, Cause.DESK, A_WORD
        async with database.transaction() as conn:
            await trading_states.freeze(conn, *of_account)

    async def thaw(self, database: Database) -> None:
        async with database.transaction() as conn:
            await trading_states.unfreeze(conn, user(self.user_id), [Cause.DESK], A_WORD)

    async def withdraw(self, database: Database) -> None:
        async with database.transaction() as conn:
            await frozen_outbox.withdraw(conn, self.listed.exchange)

    async def rebuild(self) -> None:
        await self.portfolios.view.rebuild(self.user_id)


def _instrument(kind: InstrumentKind, exchange: str) -> Instrument:
    """Near Rs 100, of a band that no scenario leaves."""
    facts = {
        "instrument_id": f"{exchange}:ALPHA",
        "exchange": exchange,
        "symbol": "ALPHA",
        "kind": kind,
        "tick_size": 1,
        "previous_close": 100_00,
        "lower_band": 1,
        "upper_band": 1_000_00,
    }
    if kind.is_derivative:
        facts |= {"segment": Segment.FO, "underlying": f"{exchange}:ALPHA", "expiry": derivatives.NEAR}
    if kind is InstrumentKind.OPTION:
        facts |= {"strike": 1000_00, "option_type": "CE"}
    return an_instrument(**facts)


@asynccontextmanager
async def opened(
    database: Database, redis: Redis, scenario: Scenario, kind: type[Account] = Account
) -> AsyncIterator[Account]:
    """The account with its cash and shares, its instrument listed on an exchange that no gateway serves."""
    exchange = f"I{next(_numbers):03}"
    listed = _instrument(scenario.kind, exchange)
    (user_id,) = await new_users(database, 1)
    orders = {}
    for name, plan in scenario.orders.items():
        facts = {"instrument_id": listed.instrument_id, "product": scenario.product, "side": plan.side}
        terms = some_terms(order_type=OrderType.LIMIT, quantity=plan.quantity, price=plan.price, **facts)
        orders[name] = PlacedOrder(an_order_id(), user_id, 0, time.time_ns(), terms, "", "test")
    facts = asdict(listed) | {"session_class": "FO" if scenario.kind.is_derivative else "CASH"}
    marks = ", ".join(f"%({name})s" for name in facts)
    async with database.transaction() as conn:
        await conn.execute(f"INSERT INTO instruments ({', '.join(facts)}) VALUES ({marks})".encode(), facts)
        await conn.execute(
            "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)",
            (user_id, scenario.cash),
        )
        await conn.execute(
            "INSERT INTO risk_limits (user_id, effective_from, exposure_limit, position_limit,"
            " order_value_limit) VALUES (%s, '2020-01-01', %s, 1000, %s)",
            (user_id, 10**12, 10**12),
        )
        if scenario.shares:
            await conn.execute(
                "INSERT INTO holdings (user_id, instrument_id, quantity, cost) VALUES (%s, %s, %s, %s)",
                (user_id, listed.instrument_id, scenario.shares, scenario.shares * 100_00),
            )
    account = kind(database, redis, listed, user_id, orders)
    await account.portfolios.view.ensure(user_id)
    try:
        yield account
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM instruments WHERE exchange = %s", (exchange,))
