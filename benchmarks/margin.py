"""A margin check: block for one order, one client after another and 64 at a time.

Peer: the tutorial's optimistic lock (WATCH, GET, MULTI, DECRBY, EXEC). Ours: storage/margin/lua/block.lua,
which also splits closing from opening quantity and remembers the answer. Ceiling: a bare DECRBY.

And the margin of a portfolio of derivatives with orders at work, as a submit reckons it. Peer: every subset
of fills tried, which gives what may be needed without thought. Ceiling: what is held, without the orders.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import WatchError

from benchmarks.rows import Contestant, Row, measure
from config.rules import exposure_rates
from domain.orders import Side
from domain.portfolio_margin import MarginedPosition, MarginParameters, WorkingOrder, portfolio_margin
from domain.span import ContractKind
from exchange.files.master import read_master
from exchange.simulator.clearing.span_publisher import span_parameters
from storage.database import Database
from storage.margin.view import MarginView

CLIENTS = 64
ACCOUNTS = 50
CASH = 10**14
HELD, ORDERED, LOT = 10, 5, 65
_order_ids = itertools.count(1)


async def rows(redis: Redis, database: Database) -> list[Row]:
    """Both rows, on accounts of their own in the given servers."""
    users = [await _account(database, redis, number) for number in range(ACCOUNTS)]
    book = MarginView(redis, database)

    async def ours(user_id: int) -> None:
        await book.block(user_id, next(_order_ids), Side.BUY, "NSE:TCS|CNC", False, 1, 100)

    async def optimistic(user_id: int) -> None:
        key = f"bench:{user_id}"
        async with redis.pipeline() as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    if int(await pipe.get(key) or 0) < 100:
                        return
                    pipe.multi()  # type: ignore[no-untyped-call]
                    pipe.decrby(key, 100)
                    await pipe.execute()
                    return
                except WatchError:
                    continue

    async def bare(user_id: int) -> None:
        await redis.decrby(f"bench:{user_id}", 100)

    contestants = [
        ("peer", "optimistic lock (WATCH, MULTI)", optimistic),
        ("ours", "block.lua", ours),
        ("ceiling", "bare DECRBY", bare),
    ]
    alone = [Contestant(role, name, _one_by_one(verb, users)) for role, name, verb in contestants]
    crowd = [Contestant(role, name, _at_once(verb, users)) for role, name, verb in contestants]
    return [
        *await measure("margin check, one client", alone, times=2_000),
        *await measure(f"margin check, {CLIENTS} clients", crowd, times=6_400),
        *await measure(f"portfolio of {HELD} contracts, {ORDERED} orders", _portfolio(), times=50),
    ]


def _portfolio() -> list[Contestant]:
    span = span_parameters("NSE", read_master("NSE"), time.time_ns())
    assert span is not None
    params = MarginParameters(span, exposure_rates(span.business_date))
    nifty = [
        key for key in span.contracts if key.product == "NIFTY" and key.kind is not ContractKind.PHYSICAL
    ]
    held = [MarginedPosition(key, -LOT if n % 2 else LOT) for n, key in enumerate(nifty[:HELD])]
    orders = [
        WorkingOrder(key, Side.SELL if n % 2 else Side.BUY, LOT, 100)
        for n, key in enumerate(nifty[-ORDERED:])
    ]
    fills = [MarginedPosition(order.contract, order.side.sign * order.quantity) for order in orders]
    subsets = [
        [*held, *some] for number in range(len(fills) + 1) for some in itertools.combinations(fills, number)
    ]

    async def every_subset(times: int) -> None:
        for _ in range(times):
            for subset in subsets:
                portfolio_margin(subset, params)

    async def at_worst(times: int) -> None:
        for _ in range(times):
            portfolio_margin(held, params, orders)

    async def alone(times: int) -> None:
        for _ in range(times):
            portfolio_margin(held, params)

    return [
        Contestant("peer", "every subset of fills", every_subset),
        Contestant("ours", "worst ends, line by line", at_worst),
        Contestant("ceiling", "what is held alone", alone),
    ]


def _one_by_one(verb: Callable[[int], Awaitable[None]], users: list[int]) -> Callable[[int], Awaitable[None]]:
    async def run(times: int) -> None:
        for number in range(times):
            await verb(users[number % len(users)])

    return run


def _at_once(verb: Callable[[int], Awaitable[None]], users: list[int]) -> Callable[[int], Awaitable[None]]:
    one_by_one = _one_by_one(verb, users)

    async def run(times: int) -> None:
        await asyncio.gather(*(one_by_one(times // CLIENTS) for _ in range(CLIENTS)))

    return run


async def _account(database: Database, redis: Redis, number: int) -> int:
    async with database.transaction() as conn:
        made = await conn.execute(
            """INSERT INTO users (client_id, full_name, password_hash, role, created_at_ns)
               VALUES (%s, 'A benchmark account', '!', 'CLIENT', 0)
               ON CONFLICT (client_id) DO UPDATE SET full_name = excluded.full_name RETURNING user_id""",
            (f"BENCH{number:04d}",),
        )
        row = await made.fetchone()
        assert row is not None
        await conn.execute(
            """INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 0)
               ON CONFLICT (user_id) DO NOTHING""",
            (row["user_id"], CASH),
        )
    await redis.set(f"bench:{row['user_id']}", CASH)
    return int(row["user_id"])
