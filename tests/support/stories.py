"""Order workflows under a test's hand: the real steps over the real servers, the exchange played by the test.

The exchange is XT, which no gateway serves, so that what is owed to it stays where it is and its reports are
the test's to tell. A test may replace a step by one that does the same and something before it.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
from redis.asyncio import Redis
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker, WorkflowRunner

from activities.books import Books
from activities.changes import Changes
from activities.gates import Gates
from activities.report_waiters import ReportWaiters
from bus.last_prices import LastPrices
from bus.tick_bus import Publisher
from bus.ticks import TICK, group_of
from bus.wakeups import Wakeup
from domain.instruments import Instrument
from domain.orders import OrderTerms, PlacedOrder
from domain.reports import ExecutionReport, MarketPhase
from pretrade.checks import PreTradeChecks
from pretrade.day_rules import DayRules
from storage.books.keeping import BookKeeping
from storage.cached_view import following
from storage.database import Database
from storage.journals import order_queue
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.journals.intake import Intake
from storage.journals.order_requests import OrderRequest
from storage.margin.view import MarginView
from storage.market.phases import MarketPhases
from storage.orders import unfinished
from tests.support.builders import an_instrument, some_terms
from tests.support.orders import new_users
from tests.support.portfolios import some_portfolios
from workflow_api import contracts
from workflows.late_reports import LateReportsWorkflow
from workflows.orders import OrderWorkflow

EXCHANGE = "XT"
SESSION = "FIX.4.2:TEST->XT"
PERCENT = 20
CASH = 1_00_000_00


def listed(**changes: Any) -> Instrument:
    """XT:RELIANCE near Rs 2,450."""
    symbol = changes.pop("symbol", "RELIANCE")
    names = {"exchange": EXCHANGE, "symbol": symbol, "instrument_id": f"{EXCHANGE}:{symbol}"}
    return an_instrument(**names, **changes)


@dataclass
class Stories:
    """Starts workflows, plays their exchange, and reads what became of them."""

    database: Database
    redis: Redis
    temporal: Client
    queue: str = field(default_factory=lambda: f"test-{uuid4()}")
    told: int = 0
    """Messages of the exchange so far."""

    @property
    def book(self) -> MarginView:
        return MarginView(self.redis, self.database)

    @asynccontextmanager
    async def worker(self, runner: WorkflowRunner, books_class: type[Books] = Books) -> AsyncIterator[Books]:
        """One order worker, polling this test's own queue; left at once, whatever is under way."""
        phases, day = MarketPhases(self.database), DayRules(INSTRUMENTS)
        listed = {row.instrument_id: row for row in INSTRUMENTS}
        portfolios = some_portfolios(self.database, self.redis, instruments=listed)
        keeping = BookKeeping(self.database, self.redis, portfolios, PERCENT)
        judge = PreTradeChecks(listed, day, phases, LastPrices(self.redis), PERCENT)
        gates = Gates(judge, keeping)
        books = books_class(self.database, self.redis, keeping, ReportWaiters())
        changes = Changes(self.database, self.redis, judge, keeping)
        await self._tick()
        async with (
            following(phases, Wakeup()),
            Worker(
                self.temporal,
                task_queue=self.queue,
                workflows=[OrderWorkflow, LateReportsWorkflow],
                activities=[*_steps(gates), *_steps(books), *_steps(changes)],
                workflow_runner=runner,
            ),
        ):
            yield books

    async def _tick(self) -> None:
        """XT:RELIANCE last traded at 2450.00, and the distributor is at work."""
        reliance = INSTRUMENTS[0]
        row = np.zeros(1, TICK)
        row["token"], row["ltp"] = reliance.token, 2450_00
        publisher = Publisher(self.redis)
        await publisher.publish({group_of(EXCHANGE, reliance.token): row})
        await publisher.beat()

    async def client(self, cash: int | None = CASH) -> int:
        """A user of this test alone; without cash there is no ledger either."""
        (user_id,) = await new_users(self.database, 1)
        if cash is not None:
            async with self.database.transaction() as conn:
                await conn.execute(
                    "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)",
                    (user_id, cash),
                )
        return user_id

    async def place(self, user_id: int, **changes: Any) -> PlacedOrder:
        """BUY 10 XT:RELIANCE LIMIT 2450.00 CNC, changed; acknowledged by the intake."""
        terms: OrderTerms = some_terms(
            **({"instrument_id": f"{EXCHANGE}:RELIANCE", "quantity": 10, "price": 2450_00} | changes)
        )
        asked = OrderRequest(user_id, uuid4(), b"", terms, time.time_ns())
        acknowledged = await Intake(self.database, self.redis).accept(asked)
        (row,) = await self.rows("SELECT seq FROM order_intake WHERE order_id = %s", acknowledged.order_id)
        return PlacedOrder(
            acknowledged.order_id, user_id, row["seq"], acknowledged.accepted_at_ns, terms, "", "test"
        )

    async def start(self, placed: PlacedOrder) -> WorkflowHandle[OrderWorkflow, str]:
        handle: WorkflowHandle[OrderWorkflow, str] = await self.temporal.start_workflow(
            contracts.ORDER_WORKFLOW,
            placed,
            id=contracts.order_workflow_id(placed.order_id),
            task_queue=self.queue,
            result_type=str,
            search_attributes=contracts.search_attributes(placed),
            static_summary=contracts.summary(placed),
        )
        return handle

    async def started(self, placed: PlacedOrder) -> None:
        """As the order worker notes it."""
        await order_queue.mark_started(self.database, [placed.order_id], time.time_ns())

    async def begin_again(self, placed: PlacedOrder) -> WorkflowHandle[OrderWorkflow, str]:
        """The story that was lost, from what the journals know, on this test's queue."""
        await self.started(placed)
        (again,) = await unfinished.read(self.database, [placed.order_id])
        return await self.start(again)

    async def send(self, placed: PlacedOrder) -> None:
        """The order leaves: it can no longer be withdrawn."""
        async with self.database.transaction() as conn:
            await conn.execute(
                "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1, session = %s"
                " WHERE order_id = %s AND claimed_at_ns IS NULL",
                (SESSION, placed.order_id),
            )

    async def tell(self, reports: Sequence[ExecutionReport], signals: int = 1) -> None:
        """The exchange's reports on one order, journaled as they come, then the workflow is signalled."""
        arrivals = []
        for report in reports:
            self.told += 1
            arrivals.append(Arrival(EXCHANGE, SESSION, self.told, report, time.time_ns()))
        async with self.database.transaction() as conn:
            await write(conn, [], arrivals, time.time_ns())
        for _ in range(signals):
            await self.signal(arrivals[0].order_id or 0, *(report.exec_id for report in reports))

    async def signal(self, order_id: int, *sentences: str) -> None:
        handle = self.temporal.get_workflow_handle(contracts.order_workflow_id(order_id))
        await handle.signal(contracts.EXCHANGE_REPORTS, list(sentences))

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        async with self.database.reading() as conn:
            found = await conn.execute(query.encode(), values)
            return await found.fetchall()

    async def order(self, placed: PlacedOrder) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM orders WHERE order_id = %s", placed.order_id)
        return row

    async def ledger(self, user_id: int) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM margin_ledger WHERE user_id = %s", user_id)
        return row

    async def blocked(self, user_id: int) -> tuple[int, int]:
        """In Redis and in the ledger."""
        view = await self.book.account(user_id)
        return (view.blocked if view else 0), (await self.ledger(user_id))["blocked_margin"]


INSTRUMENTS = [
    listed(),
    listed(symbol="HALTED", token=2),
    listed(symbol="UNTOLD", token=3),
    listed(symbol="QUOTED", token=4, tradable=False),
]
"""Of three session classes: trading, halted, and one that the exchange has not told of."""
_CLASSES = {"RELIANCE": "OPEN", "HALTED": "SHUT", "UNTOLD": "NONE", "QUOTED": "OPEN"}


@asynccontextmanager
async def exchange_listed(database: Database) -> AsyncIterator[None]:
    """XT's instruments and phases are in the books, until the context is left."""
    async with database.transaction() as conn:
        for row in INSTRUMENTS:
            facts = asdict(row) | {"session_class": _CLASSES[row.symbol]}
            names = ", ".join(facts)
            marks = ", ".join(f"%({name})s" for name in facts)
            await conn.execute(f"INSERT INTO instruments ({names}) VALUES ({marks})".encode(), facts)
        for session_class, phase in (("OPEN", MarketPhase.CONTINUOUS), ("SHUT", MarketPhase.HALTED)):
            await conn.execute(
                "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns)"
                " VALUES (%s, 'CASH', %s, %s, 1)",
                (EXCHANGE, session_class, phase),
            )
    yield
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM market_phases WHERE exchange = %s", (EXCHANGE,))
        await conn.execute("DELETE FROM instruments WHERE exchange = %s", (EXCHANGE,))


def _steps(effects: object) -> list[Any]:
    """Its methods that are activities."""
    methods = (getattr(effects, name) for name in dir(effects) if not name.startswith("_"))
    return [method for method in methods if activity._Definition.from_callable(method) is not None]
