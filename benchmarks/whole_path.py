"""The whole path at once on one machine: an exchange's feed in, thousands of sockets out, orders between.

The NSE's feed at 500 thousand ticks/s of 5,000 instruments on both lines, of which the market knows those of
its master; 5,000 sockets that watch ten instruments each, every tenth of which decodes; and clients whose
orders execute at the simulated BSE meanwhile, each with a socket that hears its `order_update`s, in a process
of its own. Open loop, every process on every core. Ceiling: the same orders alone.
"""

import asyncio
import os
import sys
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.progress import track

from benchmarks import load
from benchmarks.acknowledgement import ORDER
from benchmarks.crowd import ages, counts, crowd, readers
from benchmarks.fanout_load import OurClient
from benchmarks.load import Load, Requests, key_of
from benchmarks.market import OFF_AIR, Market
from benchmarks.orders import all_booked
from benchmarks.rows import LatencyRow, Measured, latency_rows
from bus.background import running
from domain.time import NANOS
from storage.database import Database

SOCKETS, TICKS, RATE, USERS, CONNECTIONS = 5_000, 500_000, 5.0, 20, 8
ROUNDS, ROUND_SECONDS = 3, 10.0
SETTLE_SECONDS = 2.0
HEARD_WITHIN_SECONDS = 10.0
"""An order of which nothing was heard by then counts as heard then, and the row says so."""
POSTS = ORDER | {"instrument_id": "BSE:RELIANCE"}


async def rows(market: Market, database: Database) -> list[LatencyRow]:
    """An update's and a tick's age at the socket, and what each process takes of a core."""
    # Two senders on one feed would be two sessions: the simulated NSE makes way for the load.
    market.run_only(OFF_AIR, *(name for name in market.platform if name != "simulator-nse"))
    path = _WholePath(market, database, await market.tokens(database, USERS))
    async with path.listening():
        alone = [(await path.round([]))[0] for _ in track(range(ROUNDS + 1), "orders alone", transient=True)]
        async with (
            _feed(market),
            crowd(market.settings, OurClient, SOCKETS, one_reads_in=10) as clients,
        ):
            reading = readers(clients)
            await asyncio.sleep(SETTLE_SECONDS)
            whole = [await path.round(reading) for _ in track(range(ROUNDS), "whole path", transient=True)]
    who = [
        ("ceiling", "order_update, orders alone"),
        ("ours", "order_update, all at once"),
        ("ours", "a tick at its client"),
    ]
    found = [alone[1:], [updates for updates, _ in whole], [ticks for _, ticks in whole]]
    work = f"{TICKS:,} ticks/s in, {SOCKETS:,} sockets out, {RATE:.0f} orders/s"
    return latency_rows(work, who, found)


class _WholePath:
    def __init__(self, market: Market, database: Database, tokens: Sequence[str]) -> None:
        self._market, self._database, self._tokens = market, database, tokens
        self._posts = Requests.posts("/api/v1/orders", tokens, POSTS)
        self._heard: array[int] = array("q")
        """Ages of the order updates."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """A socket for each client, in a process beside this one."""
        ours = self._market.settings
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.updates_load", ours.host, str(ours.port("stream"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n".join(self._tokens).encode())
        process.stdin.close()
        await process.stdout.readline()
        try:
            async with running(self._hear(process.stdout), "order updates"):
                yield
        finally:
            process.kill()
            await process.wait()

    async def _hear(self, ages: asyncio.StreamReader) -> None:
        async for age in ages:
            self._heard.append(int(age))

    async def round(self, clients: Sequence[OurClient]) -> tuple[Measured[list[int]], Measured[list[int]]]:
        """Ages of updates, and of ticks."""
        market, (told, _) = self._market, counts(clients)
        before, began = market.cpu(), time.perf_counter()
        self._heard = array("q")
        host, port = market.settings.host, market.port("api")
        asked = Load(host, port, self._posts, CONNECTIONS, ROUND_SECONDS, 202, rate=RATE)
        noting = asyncio.create_task(ages(clients, ROUND_SECONDS))
        answers = await load.run(market.load, asked)
        await all_booked(self._database, [key_of(answer.number) for answer in answers])
        ticks, seconds = await noting, time.perf_counter() - began
        missing = await self._unheard(len(answers))
        used = {name: (now - before[name]) / seconds for name, now in market.cpu().items()}
        busy = ", ".join(f"{name} {used[name]:.0%}" for name in sorted(used, key=lambda n: -used[n])[:6])
        decoded = f"{(counts(clients)[0] - told) / seconds / max(1, len(clients)):.0f} updates/s each"
        unheard = f"{missing} orders not heard of; " if missing else ""
        heard = [*self._heard, *[round(HEARD_WITHIN_SECONDS * NANOS)] * missing]
        return (heard, f"{unheard}of a core: {busy}"), (ticks or [0], decoded)

    async def _unheard(self, orders: int) -> int:
        """How many orders have no update at all after the wait; each has several."""
        deadline = time.monotonic() + HEARD_WITHIN_SECONDS
        while True:
            missing = max(0, orders - len(self._heard))
            if not missing or time.monotonic() > deadline:
                return missing
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _feed(market: Market) -> AsyncIterator[None]:
    """The exchange's feed, a process of its own, until the context is left."""
    arguments = ["--ticks", str(TICKS), "--seconds", "100000"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.feed_load", *arguments),
        env=os.environ | {"HUNDI_PORT_OFFSET": str(market.settings.port_offset)},
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()
