"""Fan-out: updates decoded by clients for each CPU-second of the server, ten instruments a client.

Peers: python-socketio as it comes and Node's socket.io, both a room an instrument and an emit a tick;
nats-server's WebSocket and Bun's native pub/sub, a subject or topic an instrument. Ours: the realtime gateway
fed by the bus. A quantile of the age says that nothing was held back for it.
"""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from benchmarks import cpu
from benchmarks.crowd import BEATS_A_SECOND, EACH, Contestant, ages, contestants, counts, crowd, serving
from benchmarks.rows import Row, Trial, compare, quantile
from config.settings import Settings

CLIENTS, SECONDS, ROUNDS = 1_000, 5.0, 3


async def rows(ours: Settings, redis: Redis) -> list[Row]:
    """One row a server."""
    with tempfile.TemporaryDirectory(prefix="hundi-fanout-") as scratch:
        trials = [
            Trial(each.role, each.name, partial(_trial, ours, each))
            for each in await contestants(ours, redis, Path(scratch))
        ]
        work = f"fan-out to {CLIENTS:,} sockets: updates a server CPU-second"
        return await compare(work, trials, rounds=ROUNDS)


async def _trial(ours: Settings, contestant: Contestant) -> tuple[float, str]:
    """Updates a CPU-second, and what was delivered."""
    async with serving(ours, contestant) as pid, crowd(ours, contestant.client, CLIENTS) as clients:
        await asyncio.sleep(1)
        updates, frames = counts(clients)
        spent, began = cpu.seconds(pid), time.perf_counter()
        took = await ages(clients, SECONDS)
        seconds, spent = time.perf_counter() - began, cpu.seconds(pid) - spent
        decoded, told = (now - then for now, then in zip(counts(clients), (updates, frames), strict=True))
    offered = CLIENTS * EACH * BEATS_A_SECOND
    rate = f"{decoded / seconds:,.0f} of {offered:,} updates/s in {told / seconds:,.0f} messages"
    age = f"age p99 {quantile([took], 0.99).median:.0f} ms"
    return decoded / spent, f"{rate}, {spent / seconds:.0%} of a core, {age}"
