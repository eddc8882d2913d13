"""A margin check: block for one order, one client after another and 64 at a time.

Peer: the tutorial's optimistic lock (WATCH, GET, MULTI, DECRBY, EXEC). Ours: storage/lua/block.lua, which
also splits closing from opening quantity and remembers the answer. Ceiling: a bare DECRBY.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import WatchError

from benchmarks.rows import Contestant, Row, measure
from domain.orders import Side
from storage.database import Database
from storage.margin_book import MarginBook

CLIENTS = 64
ACCOUNTS = 50
CASH = 10**14
_order_ids = itertools.count(1)


async def rows(redis: Redis, database: Database) -> list[Row]:
    """Both rows, on accounts of their own in the given servers."""
    users = [await _account(database, redis, number) for number in range(ACCOUNTS)]
    book = MarginBook(redis, database)

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
