"""The broker's books between clients and an exchange, in one process: real rows, a real margin view, no wire.

The exchange is the simulator's floor under a name of one test alone, which no gateway serves: Q001, Q002.
What it says waits on `line` until the test lets it arrive. Whoever writes may be killed in the middle of a
transaction, or between its commit and its answer; what it began is then done again, as another process would.
"""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from activities.books import Books
from activities.changes import Changes
from activities.report_waiters import ReportWaiters
from bus.last_prices import LastPrices
from domain.changes import Change
from domain.exchange_terms import ExchangeTerms
from domain.instruments import Instrument
from domain.margin import BlockOutcome, position_key, unit_margin
from domain.orders import OrderTerms, PlacedOrder, Product, Side
from domain.reports import CORRECTIONS, ExecType, ExecutionReport, MarketPhase
from exchange.simulator.control import BustCommand, CorrectCommand, FlexCommand
from exchange.simulator.journal import TradeFile
from pretrade.checks import PreTradeChecks
from pretrade.day_rules import DayRules
from storage.books.keeping import BookKeeping
from storage.database import Connection, Database
from storage.journals import outbox
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.journals.intake import Intake
from storage.journals.order_requests import Acknowledgement, OrderRequest
from storage.journals.outbox import OutboxRow, Sent
from storage.market.phases import MarketPhases
from tests.support.builders import an_instrument, some_terms
from tests.support.clients import Request
from tests.support.exchange_day import ExchangeDay, Told
from tests.support.orders import new_users
from tests.support.portfolios import some_portfolios
from workflow_api.results import STALE, Decision

PERCENT = 20
_numbers = itertools.count(1)


class Killed(Exception):
    """The process died before it could commit."""


@dataclass
class Mortal(Database):
    """A database whose next transaction dies before its commit, when `doomed`."""

    database: Database
    doomed: bool = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.database.transaction() as conn:
            yield conn
            if self.doomed:
                self.doomed = False
                # Nor does a killed process undo anything.
                conn.after_rollback.clear()
                raise Killed

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        async with self.database.reading() as conn:
            yield conn


@dataclass
class Brokerage:
    mortal: Mortal
    redis: Redis
    exchange: ExchangeDay
    listed: Instrument
    placed: list[PlacedOrder] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    unsubmitted: list[PlacedOrder] = field(default_factory=list)
    line: list[Arrival] = field(default_factory=list)
    """What the exchange has said and has not arrived yet."""
    standing: dict[str, ExecutionReport] = field(default_factory=dict)
    """Trades of our orders that stand at the exchange."""
    died: list[tuple[PlacedOrder, int, Change]] = field(default_factory=list)
    """Changes amid which their worker was killed."""
    said: int = 0
    asked: int = 0

    @property
    def session(self) -> str:
        return f"FIX.4.2:TEST->{self.listed.exchange}"

    def __post_init__(self) -> None:
        listed, phases = {self.listed.instrument_id: self.listed}, MarketPhases(self.mortal)
        portfolios = some_portfolios(self.mortal, self.redis, instruments=listed)
        keeping = self.keeping = BookKeeping(self.mortal, self.redis, portfolios, PERCENT)
        self.books = Books(self.mortal, self.redis, keeping, ReportWaiters())
        judge = PreTradeChecks(listed, DayRules(listed.values()), phases, LastPrices(self.redis), PERCENT)
        self.changes = Changes(self.mortal, self.redis, judge, keeping)
        self.view, self.phases = portfolios.view, phases

    async def client(self, cash: int, shares: int = 0) -> int:
        (user_id,) = await new_users(self.mortal, 1)
        async with self.mortal.transaction() as conn:
            await conn.execute(
                "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, cash)
            )
            for account, amount in ((f"cash:{user_id}", cash), ("bank", -cash)):
                await conn.execute(
                    "INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)"
                    " VALUES (%s, %s, %s, 1)",
                    (f"deposit:{user_id}", account, amount),
                )
            await conn.execute(
                "INSERT INTO holdings (user_id, instrument_id, quantity, cost) VALUES (%s, %s, %s, %s)",
                (user_id, self.listed.instrument_id, shares, shares * 2000_00),
            )
        return user_id

    async def place(self, user_id: int, **terms: Any) -> PlacedOrder:
        """Acknowledged; `submit` hands it on."""
        asked: OrderTerms = some_terms(**({"instrument_id": self.listed.instrument_id} | terms))
        request = OrderRequest(user_id, uuid4(), b"", asked, time.time_ns())
        first = await self._accept(request)
        again = await self._accept(request)
        async with self.mortal.reading() as conn:
            found = await conn.execute("SELECT seq FROM order_intake WHERE order_id = %s", (first.order_id,))
            row = await found.fetchone()
        assert row is not None
        placed = PlacedOrder(first.order_id, user_id, row["seq"], first.accepted_at_ns, asked, "", "test")
        ids = [str(first.order_id), str(again.order_id)]
        self.requests.append(Request(f"TEST{user_id}", {}, ids))
        self.placed.append(placed)
        self.unsubmitted.append(placed)
        return placed

    async def _accept(self, request: OrderRequest) -> Acknowledgement:
        """A client who heard nothing asks again with the same key."""
        try:
            return await Intake(self.mortal, self.redis).accept(request)
        except Killed:
            return await Intake(self.mortal, self.redis).accept(request)

    async def submit(self, placed: PlacedOrder) -> Decision:
        """Block and hand to the exchange, or refuse: the order workflow's steps. A repeat is harmless."""
        terms, decision = placed.terms, STALE
        key, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        unit = unit_margin(self.listed.kind, terms.product, terms.side, terms.price or 0, PERCENT)
        assert unit is not None and terms.price is not None
        leaves = ExchangeTerms(terms.order_type, terms.price, terms.price)
        answer = Decision("", STALE, 0)
        while decision == STALE:
            order_id = placed.order_id
            block = await self.keeping.block(
                placed.user_id, order_id, terms.side, key, nets, terms.quantity, unit
            )
            if block.outcome is not BlockOutcome.BLOCKED:
                answer = Decision("", "REFUSED", 0, "MARGIN_INSUFFICIENT", "not enough")
                break
            answer = await self.books.submit(placed, block, leaves)
            decision = answer.decision
            if decision == "REFUSED":
                await self.books.release_margin(placed, block)
        if answer.decision == "REFUSED":
            await self.books.refuse(placed, str(answer.reject_code), str(answer.reject_reason))
        if placed in self.unsubmitted:
            self.unsubmitted.remove(placed)
        return answer

    async def cancel(self, placed: PlacedOrder) -> Decision:
        self.asked += 1
        return await self.changes.cancel(placed, self.asked)

    async def change(self, placed: PlacedOrder, quantity: int, price: int) -> Decision:
        self.asked += 1
        return await self._change(placed, self.asked, Change(quantity, price))

    async def _change(self, placed: PlacedOrder, number: int, asked: Change) -> Decision:
        await self.phases.refresh()
        try:
            return await self.changes.change(placed, number, asked)
        except Killed:
            self.died.append((placed, number, asked))
            raise

    async def send(self, *, marked: bool = True) -> int:
        """The gateway's turn: what is unknown first, then what may leave; unless it dies before it marks."""
        async with self.mortal.reading() as conn:
            unknown = await outbox.unknown(conn, self.listed.exchange, [self.session])
        async with self.mortal.transaction() as conn:
            owed = await outbox.claim(conn, self.listed.exchange, [self.session], time.time_ns())
        for one, repeated in [(o, True) for o in unknown] + [(o, False) for o in owed]:
            self._hear(self.exchange.ask(one.instruction, repeated=repeated))  # type: ignore[arg-type]
            if marked:
                await self._mark(one, repeated)
        return len(unknown) + len(owed)

    async def _mark(self, owed: OutboxRow, repeated: bool) -> None:
        async with self.mortal.transaction() as conn:
            await write(conn, [Sent(owed, time.time_ns(), repeated)], [], time.time_ns())

    def bust(self, exec_id: str) -> None:
        self._hear(self.exchange.control(BustCommand(exec_id)))

    def correct(self, exec_id: str, quantity: int, price: int) -> None:
        self._hear(self.exchange.control(CorrectCommand(exec_id, quantity, price)))

    def flex(self, side: Side) -> None:
        """The exchange moves the price band towards a side."""
        self._hear(self.exchange.control(FlexCommand(self.listed.symbol, side)))

    def enter(self, *phases: MarketPhase) -> None:
        """The exchange goes through these phases; what that does to orders waits on the line."""
        self._hear(self.exchange.enter(*phases))

    def _hear(self, told: list[Told]) -> None:
        for report in told:
            self.said += 1
            self.line.append(Arrival(self.listed.exchange, self.session, self.said, report, time.time_ns()))
            if isinstance(report, ExecutionReport):
                if report.exec_type in CORRECTIONS:
                    self.standing.pop(report.reference_exec_id or "", None)
                if report.exec_type in {ExecType.TRADE, ExecType.TRADE_CORRECT}:
                    self.standing[report.exec_id] = report

    async def arrive(self, *arrivals: Arrival) -> None:
        """Journaled as they come, in one commit."""
        async with self.mortal.transaction() as conn:
            await write(conn, [], arrivals, time.time_ns())
        for arrival in arrivals:
            if arrival in self.line:
                self.line.remove(arrival)

    async def book(self, placed: PlacedOrder) -> None:
        await self.books.book(placed)

    async def lose_view(self, user_id: int) -> None:
        """Redis forgets the account."""
        keys = [key async for key in self.redis.scan_iter(f"margin:{{{user_id}}}*")]
        if keys:
            await self.redis.delete(*keys)

    async def settle(self) -> None:
        """Until nothing is under way: each order is final or in the book, and each report booked."""
        for placed in list(self.unsubmitted):
            await self.submit(placed)
        # Whatever happened since, Temporal gives the step of a worker that died to another.
        for died in self.died:
            await self._change(*died)
        while await self.send() or self.line:
            await self.arrive(*self.line)
        for placed in self.placed:
            await self.book(placed)


@asynccontextmanager
async def brokerage(database: Database, redis: Redis, directory: Path) -> AsyncIterator[Brokerage]:
    """Its instrument is listed and its market open until the context is left."""
    name = f"Q{next(_numbers):03}"
    listed = an_instrument(exchange=name, instrument_id=f"{name}:RELIANCE", symbol="RELIANCE")
    exchange_directory = directory / f"simulator-{name}"
    exchange_directory.mkdir(parents=True)
    trade_file = TradeFile(directory, name)
    day = ExchangeDay(exchange_directory, {"RELIANCE": listed}, exchange=name, trade_file=trade_file)
    facts = asdict(listed) | {"session_class": "OPEN"}
    names, marks = ", ".join(facts), ", ".join(f"%({name})s" for name in facts)
    async with database.transaction() as conn:
        await conn.execute(
            f"INSERT INTO instruments ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING".encode(), facts
        )
        await conn.execute(
            "INSERT INTO market_phases (exchange, segment, session_class, phase, since_ns)"
            " VALUES (%s, 'CASH', 'OPEN', 'CONTINUOUS', 1) ON CONFLICT DO NOTHING",
            (name,),
        )
    try:
        yield Brokerage(Mortal(database), redis, day, listed)
    finally:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM market_phases WHERE exchange = %s", (name,))
            await conn.execute("DELETE FROM instruments WHERE exchange = %s", (name,))
