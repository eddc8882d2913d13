"""Whole orders a second: 202 to EXECUTED and booked, a backlog of MARKET orders of 40 users.

Peer: a workflow an order with a regular activity a step, its steps doing nothing. Ceiling: bare start and
end of an empty workflow at the same Temporal server. Ours does it all: API, books, margin, FIX, the exchange.
Every process runs on every core, the exchange's too.
"""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from benchmarks import load
from benchmarks.acknowledgement import ORDER
from benchmarks.load import Load, Requests, key_of
from benchmarks.market import Market
from benchmarks.peers import workflows
from benchmarks.rows import Row, Trial, compare
from domain.time import NANOS
from stack.errors import StackError
from storage.database import Database

USERS, CLIENTS = 40, 16
ORDERS, ACTIVITY_WORKFLOWS, EMPTY_WORKFLOWS = 240, 100, 400
"""A round; some seconds each."""
ROUNDS = 3
BOOKED_WITHIN_SECONDS = 60.0
_BOOKED = """
    SELECT count(*) FILTER (WHERE orders.status = 'EXECUTED') AS executed, min(created_at_ns) AS first,
           max(booked_at_ns) AS last
    FROM orders JOIN (SELECT order_id, max(booked_at_ns) AS booked_at_ns FROM trades GROUP BY order_id) booked
         USING (order_id)
    WHERE idempotency_key = ANY(%s::uuid[])
"""


async def rows(market: Market, database: Database) -> list[Row]:
    """One row a contestant; the note is what an order costs each process."""
    market.run_only(*market.platform)
    posts = Requests.posts("/api/v1/orders", await market.tokens(database, USERS), ORDER)
    with ProcessPoolExecutor(1, get_context("spawn")) as peer:

        async def of_type(name: str, times: int) -> tuple[float, str]:
            before = market.cpu()
            asked = partial(workflows.run, market.settings, name, times, ORDER)
            finished = await asyncio.get_running_loop().run_in_executor(peer, asked)
            client = f"client and worker {finished.cpu_seconds / times * 1000:.2f}"
            return times / finished.seconds, f"{market.cpu_note(before, times)}; {client}"

        trials = [
            Trial("peer", "4 regular activities", partial(of_type, "ActivityAStep", ACTIVITY_WORKFLOWS)),
            Trial("ours", "an order, to the books", partial(booked, market, database, posts, ORDERS)),
            Trial("ceiling", "an empty workflow", partial(of_type, "Empty", EMPTY_WORKFLOWS)),
        ]
        return await compare("whole orders", trials, rounds=ROUNDS)


async def booked(
    market: Market, database: Database, posts: Requests, times: int, api: str = "api"
) -> tuple[float, str]:
    """Orders a second from the first acceptance to the last booking. Raises StackError when one is missing
    after a minute."""
    before = market.cpu()
    asked = Load(market.settings.host, market.port(api), posts, CLIENTS, BOOKED_WITHIN_SECONDS, 202, times)
    answers = await load.run(market.load, asked)
    keys = [key_of(answer.number) for answer in answers]
    began_ns, ended_ns = await all_booked(database, keys)
    return times / (ended_ns - began_ns) * NANOS, market.cpu_note(before, times)


async def all_booked(database: Database, keys: list[str]) -> tuple[int, int]:
    """When the first was accepted and the last booked."""
    deadline = time.monotonic() + BOOKED_WITHIN_SECONDS
    while True:
        async with database.reading() as conn:
            row = await (await conn.execute(_BOOKED, (keys,))).fetchone()
        assert row is not None
        if row["executed"] == len(keys):
            return row["first"], row["last"]
        if time.monotonic() > deadline:
            raise StackError(f"{row['executed']} of {len(keys)} orders were executed within a minute")
        await asyncio.sleep(0.1)
