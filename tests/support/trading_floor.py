"""Orders through block, submit, change and booking over the real books, without workflow or gateway.

The steps are the order worker's, in its order; the exchange is the test's: it journals as the gateway does.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from redis.asyncio import Redis

from domain.changes import Change
from domain.exchange_terms import ExchangeTerms
from domain.margin import BlockOutcome, position_key, unit_margin
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side
from domain.portfolios import RiskRules
from domain.reports import ExecType, ExecutionReport, OrdStatus
from domain.risk_limits import RiskLimits
from domain.time import trade_date
from storage.books import booking
from storage.database import Connection, Database
from storage.group_commit import GroupCommit
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.margin.view import ReleaseStep
from storage.orders import changes, submissions
from storage.orders.submissions import Submission, SubmissionRequest
from storage.risk import risk_limits
from tests.support.books import an_account
from tests.support.builders import a_report, some_terms
from tests.support.desk import A_WORD
from tests.support.orders import a_new_order, acknowledge, an_order_id
from tests.support.portfolios import master, some_portfolios, todays

PERCENT = 20
WIDE = RiskLimits(exposure=10**15, position=10**6, order_value=10**13)
_told = count(1)


@dataclass
class TradingFloor:
    database: Database
    redis: Redis
    rules: RiskRules = todays
    filled: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.portfolios = some_portfolios(self.database, self.redis, self.rules)
        self.view = self.portfolios.view
        self.submitting = GroupCommit(self.database, self._group)

    async def _group(self, conn: Connection, asked: Sequence[SubmissionRequest]) -> list[Submission]:
        return await submissions.submit(conn, self.portfolios, asked)

    async def account(self, cash: int) -> int:
        """With limits that are in nobody's way."""
        user_id = await an_account(self.database, cash)
        async with self.database.transaction() as conn:
            await risk_limits.set_limits(conn, user_id, trade_date(time.time_ns()), WIDE, A_WORD)
        return user_id

    async def acknowledged(self, user_id: int, terms: OrderTerms) -> PlacedOrder:
        order_id = an_order_id()
        named: dict[str, Any] = {"symbol": terms.symbol, "side": terms.side, "quantity": terms.quantity}
        async with self.database.transaction() as conn:
            new = a_new_order(order_id, price=terms.price, **named)
            seq = await acknowledge(conn, user_id, new, terms.exchange)
            await conn.execute(
                "UPDATE orders SET status = 'PENDING_VALIDATION', product = %s WHERE order_id = %s",
                (terms.product, order_id),
            )
        return PlacedOrder(order_id, user_id, seq, time.time_ns(), terms, "", "test")

    async def submit(self, placed: PlacedOrder, *, ensure: bool = True) -> str:
        """`passed`, or the code of the refusal.

        Without `ensure` the process dies before the view of a slice's account is built anew.
        """
        terms = placed.terms
        assert terms.price is not None
        unit = unit_of(terms, terms.price)
        position, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        whole = terms.quantity if placed.slice_of is None else placed.slice_of.quantity
        ours = placed.user_id, placed.margin_id
        while True:
            block = await self.view.block(*ours, terms.side, position, nets, whole, unit)
            if block.outcome is not BlockOutcome.BLOCKED:
                return "MARGIN_INSUFFICIENT"
            leaves = ExchangeTerms(OrderType.LIMIT, terms.price, terms.price)
            answer: Submission = await self.submitting.commit(SubmissionRequest(placed, block, leaves))
            if answer.stale:
                await self.view.ensure(placed.user_id)
                continue
            if answer.refusal is not None or answer.spent:
                await self.view.follow([ReleaseStep(*ours, block.generation)])
            if answer.refusal is not None:
                return answer.refusal.code.value
            if ensure and placed.slice_of is not None:
                await self.view.ensure(placed.user_id)
            return "passed"

    async def place(self, user_id: int, side: Side, symbol: str, lots: int = 1, **terms: Any) -> PlacedOrder:
        """An order that must pass."""
        placed = await self.acknowledged(user_id, an_order(side, symbol, lots, **terms))
        assert await self.submit(placed) == "passed"
        return placed

    async def fill(self, placed: PlacedOrder, quantity: int, price: int | None = None) -> None:
        filled = self.filled[placed.order_id] = self.filled.get(placed.order_id, 0) + quantity
        order = await self.order(placed)
        done = filled == order["quantity"]
        await self.tell(
            placed,
            exec_type=ExecType.TRADE,
            ord_status=OrdStatus.FILLED if done else OrdStatus.PARTIALLY_FILLED,
            quantity=order["quantity"],
            cumulative_quantity=filled,
            leaves_quantity=order["quantity"] - filled,
            last_quantity=quantity,
            last_price=price if price is not None else placed.terms.price,
        )

    async def bust(self, placed: PlacedOrder) -> None:
        """The exchange takes back all that the order has filled, in one trade."""
        (trade,) = await self.rows("SELECT * FROM trades WHERE order_id = %s", placed.order_id)
        await self.tell(
            placed,
            exec_type=ExecType.TRADE_CANCEL,
            ord_status=OrdStatus.CANCELLED,
            quantity=placed.terms.quantity,
            cumulative_quantity=0,
            leaves_quantity=0,
            last_quantity=trade["quantity"],
            last_price=trade["price"],
            reference_exec_id=trade["exec_id"],
        )
        # As the workflow's step does: a correction has voided the view.
        await self.view.ensure(placed.user_id)

    async def cancel(self, placed: PlacedOrder) -> None:
        filled = self.filled.get(placed.order_id, 0)
        cancelled = {"exec_type": ExecType.CANCELLED, "ord_status": OrdStatus.CANCELLED}
        await self.tell(placed, **cancelled, cumulative_quantity=filled, leaves_quantity=0)

    async def tell(self, placed: PlacedOrder, **report: Any) -> None:
        """The exchange speaks of the order, and it is booked."""
        number = next(_told)
        facts: dict[str, Any] = {"exec_id": f"{placed.order_id}/{number}", "symbol": placed.terms.symbol}
        facts["transact_time_ns"] = time.time_ns()
        told: ExecutionReport = a_report(placed.order_id, side=placed.terms.side, **(facts | report))
        arrival = Arrival(placed.terms.exchange, "FIX.4.2:TEST->NSE", number, told, time.time_ns())
        async with self.database.transaction() as conn:
            await write(conn, [], [arrival], time.time_ns())
        await self.book(placed)

    async def book(self, placed: PlacedOrder) -> None:
        async with self.database.transaction() as conn:
            await booking.book(conn, self.portfolios, [placed], PERCENT)

    async def change(self, placed: PlacedOrder, name: str, **asked: int) -> str:
        """Put right before it leaves: `passed`, or the code of the refusal."""
        while True:
            async with self.database.transaction() as conn:
                changed = await changes.change(
                    conn,
                    self.portfolios,
                    placed,
                    f"{placed.order_id}-{name}",
                    Change(**asked),
                    _judge,
                    PERCENT,
                )
            if not changed.stale:
                return changed.refusal.code.value if changed.refusal else "passed"
            await self.view.ensure(placed.user_id)

    async def order(self, placed: PlacedOrder) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM orders WHERE order_id = %s", placed.order_id)
        return row

    async def ledger(self, user_id: int) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM margin_ledger WHERE user_id = %s", user_id)
        return row

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        async with self.database.reading() as conn:
            found = await conn.execute(query.encode(), values)
            return await found.fetchall()


def an_order(side: Side, symbol: str, lots: int = 1, **terms: Any) -> OrderTerms:
    """NRML at the previous close; `lots` of one share where a share has none."""
    instrument = master()[f"NSE:{symbol}"]
    facts: dict[str, Any] = {"product": Product.NRML, "price": instrument.previous_close}
    quantity = lots * instrument.lot_size
    return some_terms(instrument_id=instrument.instrument_id, side=side, quantity=quantity, **(facts | terms))


def unit_of(terms: OrderTerms, price: int) -> int:
    unit = unit_margin(master()[terms.instrument_id].kind, terms.product, terms.side, price, PERCENT)
    assert unit is not None
    return unit


def _judge(stands: changes.ChangeableOrder, terms: OrderTerms) -> tuple[ExchangeTerms, int]:
    assert terms.price is not None
    return ExchangeTerms(OrderType.LIMIT, terms.price, terms.price), unit_of(terms, terms.price)
