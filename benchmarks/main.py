"""`make bench`: figures beside peers and a ceiling of the same run, on servers of its own.

`hundi bench margin orders` runs these suites alone. Run it on an idle machine: the load average is kept with
the figures.
"""

from collections.abc import Awaitable, Callable, Sequence

import uvloop
from redis.asyncio import Redis
from rich.console import Console

from benchmarks import (
    acknowledgement,
    bell,
    click,
    fanout,
    feed,
    margin,
    orders,
    report,
    sockets,
    telemetry,
    whole_path,
)
from benchmarks.market import Market, market
from benchmarks.rows import AnyRow
from bus.redis_client import open_redis
from stack.errors import StackError
from storage.database import Database, open_database

Suite = Callable[[Market, Database, Redis], Awaitable[Sequence[AnyRow]]]

SUITES: dict[str, Suite] = {
    "margin": lambda _, database, redis: margin.rows(redis, database),
    "feed": lambda stack, _, __: feed.rows(stack.settings),
    "fanout": lambda stack, _, redis: fanout.rows(stack.settings, redis),
    "sockets": lambda stack, _, redis: sockets.rows(stack, redis),
    "idle": lambda stack, _, redis: sockets.idle_rows(stack.settings, redis),
    "acknowledgement": lambda stack, database, _: acknowledgement.rows(stack, database),
    "orders": lambda stack, database, _: orders.rows(stack, database),
    "whole-path": lambda stack, database, _: whole_path.rows(stack, database),
    "click": lambda stack, database, _: click.rows(stack, database),
    "bell": lambda stack, database, redis: bell.rows(stack, database, redis),
    "telemetry": lambda stack, database, _: telemetry.rows(stack, database),
}
"""Each finds the stores running and nothing else."""


def main(arguments: Sequence[str] = ()) -> None:
    """Raises StackError when a suite is not known, or the servers cannot start."""
    unknown = [name for name in arguments if name not in SUITES]
    if unknown:
        raise StackError(f"there is no benchmark {unknown[0][:40]!r}, only {', '.join(SUITES)}")
    console = Console(width=124)
    with market() as stack:
        found = uvloop.run(_rows(stack, list(arguments) or list(SUITES), console))
    report.show(found, console)
    console.print(f"kept in {report.keep(found)}", highlight=False)


async def _rows(stack: Market, names: Sequence[str], console: Console) -> list[AnyRow]:
    found: list[AnyRow] = []
    async with (
        open_database(stack.settings.postgres_dsn) as database,
        open_redis(stack.settings.redis_dsn) as redis,
    ):
        for name in names:
            console.print(f"{name} ...", highlight=False)
            stack.run_only()
            found += await SUITES[name](stack, database, redis)
    return found
