"""The bell: armed orders released by the gateway in acknowledgement order when the exchange says open.

Ours is a whole gateway: claims, FIX sends, marks and the exchange's reports journaled, on cores that the
exchange and PostgreSQL share; from the exchange's word to the last send. Ceiling: a bare QuickFIX send loop.
Orders are armed by the code that arms them in the market (intake, margin view, submission), without their
workflows. Each round checks itself against the exchange's own journal: none lost, none doubled, in order, and
absent what was cancelled before the bell.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis

from benchmarks import bare_fix
from benchmarks.market import Market
from benchmarks.rows import Row, Trial, compare
from domain.exchange_terms import ExchangeTerms
from domain.margin import position_key
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side, Validity
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.time import NANOS
from exchange.simulator.control import ask
from stack.errors import StackError
from storage.database import Database
from storage.journals import order_queue
from storage.journals.intake import Intake
from storage.journals.order_requests import OrderRequest
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView
from storage.orders import cancellations, submissions
from storage.orders.cancellations import CancelledBy

ORDERS = int(os.environ.get("HUNDI_BELL_ORDERS", "20000"))
USERS = max(1, ORDERS // 10)
"""Ten orders each: as many as may be in flight."""
CANCELLED = ORDERS // 100
ROUNDS = int(os.environ.get("HUNDI_BELL_ROUNDS", "3"))
EXCHANGE = "NSE"
AT_ONCE = 512
CASH = 10**15
RELEASED_WITHIN_SECONDS = 120.0
_USERS = """
    INSERT INTO users (user_id, client_id, full_name, password_hash, role, created_at_ns)
    SELECT 5000000 + n, 'BELL' || n, 'A benchmark account', '!', 'CLIENT', 0 FROM generate_series(1, %s) n
    ON CONFLICT DO NOTHING
"""
_LEDGERS = """
    INSERT INTO margin_ledger (user_id, cash, updated_at_ns)
    SELECT user_id, %s, 0 FROM users WHERE client_id LIKE 'BELL%%' ON CONFLICT DO NOTHING
"""
_STREAMS = """
    INSERT INTO update_sequences (user_id) SELECT user_id FROM users WHERE client_id LIKE 'BELL%%'
    ON CONFLICT DO NOTHING
"""
_SENT = """
    SELECT min(sent_at_ns) AS first, max(sent_at_ns) AS last, count(answered_at_ns) AS answered,
           max(answered_at_ns) AS answered_ns
    FROM exchange_outbox WHERE order_id BETWEEN %s AND %s AND sent_at_ns IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Armed:
    """In acknowledgement order."""

    orders: list[PlacedOrder]
    cancelled: set[int]

    @property
    def bounds(self) -> tuple[int, int]:
        ids = [placed.order_id for placed in self.orders]
        return min(ids), max(ids)


async def rows(market: Market, database: Database, redis: Redis) -> list[Row]:
    """One row each; raises StackError when a round is not as it has to be."""
    await market.forget_orders()
    async with database.transaction() as conn:
        await conn.execute(_USERS, (USERS,))
        await conn.execute(_LEDGERS, (CASH,))
        await conn.execute(_STREAMS)
        found = await conn.execute("SELECT user_id FROM users WHERE client_id LIKE 'BELL%%' ORDER BY user_id")
        users = [row["user_id"] for row in await found.fetchall()]
    port = market.settings.port("fix", 20)

    async def ceiling() -> tuple[float, str]:
        market.run_only()
        rate = await asyncio.to_thread(bare_fix.rate, market.settings.host, port, ORDERS)
        return rate, "file store; nothing journaled"

    trials = [
        Trial("ours", f"{ORDERS:,} armed orders", partial(released, market, database, redis, users)),
        Trial("ceiling", "bare QuickFIX send loop", ceiling),
    ]
    return await compare("the bell", trials, rounds=ROUNDS)


async def released(
    market: Market, database: Database, redis: Redis, users: Sequence[int]
) -> tuple[float, str]:
    """Orders a second from the exchange's word to the last send."""
    market.run_only("simulator-nse", "simulator-bse", "gateway")
    journal = market.settings.data_dir / f"simulator-{EXCHANGE}" / "journal.jsonl"
    await _enter(market, MarketPhase.CLOSED)
    armed = await arm(database, redis, users)
    read_from, before = journal.stat().st_size, market.cpu()
    rung_ns = time.time_ns()
    await _enter(market, MarketPhase.CONTINUOUS)
    first_ns, last_ns, answered_ns = await _all_sent(database, armed)
    check(armed, entered(journal, read_from))
    number = len(armed.orders) - len(armed.cancelled)
    note = f"the first left after {(first_ns - rung_ns) / 1e6:,.0f} ms; all answered and journaled: "
    note += f"{number / (answered_ns - rung_ns) * NANOS:,.0f}/s"
    return number / (last_ns - rung_ns) * NANOS, f"{note}; {market.cpu_note(before, number)}"


async def arm(database: Database, redis: Redis, users: Sequence[int]) -> Armed:
    """Acknowledge an order of each user in turn, block its margin and submit it; then cancel some."""
    symbols, intake = await _symbols(database), Intake(database, redis)
    requests = [_request(users[n % len(users)], *symbols[n % len(symbols)]) for n in range(ORDERS)]
    for start in range(0, ORDERS, AT_ONCE):
        await asyncio.gather(*(intake.accept(one) for one in requests[start : start + AT_ONCE]))
    orders = await order_queue.claim_orders(database, "bench", 10 * ORDERS, time.time_ns())
    await order_queue.mark_started(database, [placed.order_id for placed in orders], time.time_ns())
    view = MarginView(redis, database)
    shares_alone = DerivativeMargins(view, {}, lambda _: Refusal(RejectCode.SPAN_FILE_MISSING))
    for start in range(0, len(orders), AT_ONCE):
        asked = [await _block(view, placed) for placed in orders[start : start + AT_ONCE]]
        async with database.transaction() as conn:
            answers = await submissions.submit(conn, shares_alone, asked)
        refused = [answer for answer in answers if answer.told is None]
        if refused:
            raise StackError(f"an order could not be armed: {refused[0]}")
    step = len(orders) // CANCELLED
    cancelled = orders[::step]
    async with database.transaction() as conn:
        await cancellations.cancel(conn, [placed.order_id for placed in cancelled], CancelledBy("bench"))
    return Armed(orders, {placed.order_id for placed in cancelled})


def entered(journal: Path, read_from: int) -> list[tuple[str, int]]:
    """Session and order id of each new order that the exchange has taken since, as often as it did so."""
    with journal.open("rb") as lines:
        lines.seek(read_from)
        steps = [json.loads(line) for line in lines]
    return [
        (report["session"], int(report["cl_ord_id"]))
        for step in steps
        for report in step.get("reports", ())
        if report.get("exec_type") in {"0", "8"}
    ]


def check(armed: Armed, taken: Sequence[tuple[str, int]]) -> None:
    """The exchange has each order once, each session's in acknowledgement order. Raises StackError."""
    places = {placed.order_id: placed.intake_seq for placed in armed.orders}
    times = Counter(order_id for _, order_id in taken)
    faults = [f"order {i} entered {n} times" for i, n in times.items() if n > 1]
    faults += [f"order {i} was cancelled before the bell and entered" for i in armed.cancelled & times.keys()]
    faults += [f"order {i} was lost" for i in places.keys() - times.keys() - armed.cancelled]
    for session in {session for session, _ in taken}:
        seqs = [places[order_id] for name, order_id in taken if name == session]
        late = sum(later < earlier for earlier, later in pairwise(seqs))
        faults += [f"{late} orders of {session} were overtaken"] * bool(late)
    if faults:
        raise StackError(f"the bell: {len(faults)} faults, the first: {faults[0]}")


def _request(user_id: int, instrument_id: str, price: int) -> OrderRequest:
    terms = (instrument_id, OrderType.LIMIT, Side.BUY, Product.CNC, Validity.DAY, 1, price)
    return OrderRequest(user_id, uuid4(), b"", OrderTerms(*terms), time.time_ns())


async def _block(view: MarginView, placed: PlacedOrder) -> submissions.SubmissionRequest:
    terms, price = placed.terms, placed.terms.price or 0
    key = position_key(terms.instrument_id, terms.product)
    block = await view.block(placed.user_id, placed.order_id, terms.side, key, False, terms.quantity, price)
    leaves = ExchangeTerms(terms.order_type, price, price, (MarketPhase.CONTINUOUS,))
    return submissions.SubmissionRequest(placed, block, leaves)


async def _symbols(database: Database) -> list[tuple[str, int]]:
    """Shares of one session class, which opens as one, and the price of each at which a purchase rests."""
    async with database.reading() as conn:
        found = await conn.execute(
            """SELECT instrument_id, -(-lower_band / tick_size) * tick_size AS price FROM instruments
               WHERE exchange = %s AND session_class = %s AND tradable ORDER BY 1""",
            (EXCHANGE, SessionClass.CAS),
        )
        return [(row["instrument_id"], row["price"]) for row in await found.fetchall()]


async def _enter(market: Market, phase: MarketPhase) -> None:
    await asyncio.to_thread(ask, market.settings.data_dir, EXCHANGE, verb="phase", phase=phase)


async def _all_sent(database: Database, armed: Armed) -> tuple[int, int, int]:
    """When the first and the last was sent, and when the last was answered."""
    expected = len(armed.orders) - len(armed.cancelled)
    deadline = time.monotonic() + RELEASED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(0.25)
        async with database.reading() as conn:
            row = await (await conn.execute(_SENT, armed.bounds)).fetchone()
        if row is not None and row["answered"] == expected:
            return int(row["first"]), int(row["last"]), int(row["answered_ns"])
    raise StackError(f"the bell: not all of {expected} orders were released and answered: {row}")
