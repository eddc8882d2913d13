"""What traces cost: POSTs a second, and whole orders a CPU-second of our processes, by the share traced.

The ceiling traces nothing, the default is a tenth, the worst case is every order. Spans go to the logs, as
without a collector. The API decides what is sampled, so three of them stand side by side before one worker
and one gateway, which follow the flag in each order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from benchmarks import cpu, load
from benchmarks.acknowledgement import ORDER
from benchmarks.load import Load, Requests, seconds_of
from benchmarks.market import SAMPLED, Market
from benchmarks.orders import booked
from benchmarks.rows import Row, Trial, compare
from storage.database import Database

Measure = Callable[[Market, Requests, str], Awaitable[tuple[float, str]]]
WHO = {"0": ("ceiling", "no order traced"), "0.1": ("ours", "one in ten"), "1": ("ours", "every order")}
USERS, CLIENTS, ORDERS = 40, 16, 100
ROUNDS, ROUND_SECONDS = 3, 1.0
SPANS_LEAVE_SECONDS = 5.5
"""OpenTelemetry's batches wait for 5 s; what they cost belongs to the round that made them."""


async def rows(market: Market, database: Database) -> list[Row]:
    """Two works, a row a share each."""
    posts = Requests.posts("/api/v1/orders", await market.tokens(database, USERS), ORDER)
    market.run_only(*SAMPLED.values())
    for api in SAMPLED.values():
        market.pin(api, cpu.SERVER_CORE)
    acknowledged = await compare("POSTs, by share traced", _trials(_posts, market, posts), rounds=ROUNDS)
    await market.forget_orders()
    market.run_only(*(name for name in market.platform if name != "api"), *SAMPLED.values())
    whole = partial(_orders, database=database)
    work = "orders a CPU-second, by share traced"
    return acknowledged + await compare(work, _trials(whole, market, posts), rounds=ROUNDS)


def _trials(measure: Measure, market: Market, posts: Requests) -> list[Trial[float]]:
    return [Trial(*WHO[share], partial(measure, market, posts, api)) for share, api in SAMPLED.items()]


async def _posts(market: Market, posts: Requests, api: str) -> tuple[float, str]:
    before = market.cpu()
    asked = Load(market.settings.host, market.port(api), posts, CLIENTS, ROUND_SECONDS, 202)
    answers = await load.run(market.load, asked)
    return len(answers) / seconds_of(answers), market.cpu_note(before, len(answers))


async def _orders(market: Market, posts: Requests, api: str, *, database: Database) -> tuple[float, str]:
    """Of API, order worker and gateway together."""
    before = market.cpu()
    rate, _ = await booked(market, database, posts, ORDERS, api)
    await asyncio.sleep(SPANS_LEAVE_SECONDS)
    used = _ours(market.cpu()) - _ours(before)
    return ORDERS / used, f"{rate:,.0f} orders/s"


def _ours(seconds: Mapping[str, float]) -> float:
    return sum(used for name, used in seconds.items() if name.startswith(("api", "order-worker", "gateway")))
