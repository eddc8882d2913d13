"""Many sockets at one gateway: how old is what they are told, and what idle and stalled ones cost.

Age: from the tick's own stamp, written as it goes onto the bus, to its decoding by the client, while every
instrument ticks on every beat of the distributor; taken at every tenth client, the others only read, because
one core of load could not decode it all. Server on one core, bus and clients on the other. Memory: the
server's resident set with idle connections, signed in, less that before, beside the peers'. A stalled client
subscribes like the others and reads nothing.
"""

import asyncio
import math
import tempfile
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from benchmarks import cpu
from benchmarks.crowd import Contestant, ages, contestants, counts, crowd, gateway, readers, serving
from benchmarks.market import Market
from benchmarks.rows import LatencyRow, Measured, Row, Trial, compare, compare_latencies
from config.settings import Settings
from realtime.feed.distributor import BEAT_SECONDS

SOCKETS, AGE_SECONDS = 9_000, 8.0
IDLE = 2_000
STALL_SOCKETS, STALL_SECONDS, STALL_ROUNDS = 1_000, 4.0, 4


async def rows(market: Market, redis: Redis) -> list[LatencyRow]:
    """Ages, then the stalled one's neighbours."""
    market.pin("valkey", cpu.LOAD_CORE)
    try:
        return [*await _ages(market.settings, redis), *await _stalled(market.settings, redis)]
    finally:
        market.unpin("valkey")


async def idle_rows(ours: Settings, redis: Redis) -> list[Row]:
    """One row a server."""
    with tempfile.TemporaryDirectory(prefix="hundi-fanout-") as scratch:
        trials = [
            Trial(each.role, each.name, partial(_memory, ours, each))
            for each in await contestants(ours, redis, Path(scratch))
        ]
        return await compare(f"bytes an idle connection, of {IDLE:,}", trials, rounds=3)


async def _ages(ours: Settings, redis: Redis) -> list[LatencyRow]:
    async def trial(number: int) -> Measured[list[int]]:
        contestant = gateway(redis, 1 / BEAT_SECONDS)
        async with (
            serving(ours, contestant) as pid,
            crowd(ours, contestant.client, number, one_reads_in=10) as clients,
        ):
            reading = readers(clients)
            await asyncio.sleep(2)
            (updates, _), spent = counts(reading), cpu.seconds(pid)
            took = await ages(reading, AGE_SECONDS)
            decoded, busy = counts(reading)[0] - updates, cpu.seconds(pid) - spent
        rate = decoded / len(reading) / AGE_SECONDS
        return took, f"{rate:.0f} updates/s each, server {busy / AGE_SECONDS:.0%} of a core"

    trials = [Trial("ours", f"{SOCKETS:,} sockets", partial(trial, SOCKETS))]
    return await compare_latencies("age of the delivered value", trials, rounds=3)


async def _memory(ours: Settings, contestant: Contestant) -> Measured[float]:
    async with serving(ours, contestant) as pid:
        await asyncio.sleep(1)
        before = _resident(pid)
        async with crowd(ours, contestant.client, IDLE, idle=True):
            await asyncio.sleep(1)
            after = _resident(pid)
    return (after - before) / IDLE, f"{before / 2**20:.0f} MiB before"


def _resident(pid: int) -> int:
    """Bytes of the process that are in memory, proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


async def _stalled(ours: Settings, redis: Redis) -> list[LatencyRow]:
    """With and without one stalled client in turn, each pair at the same server."""
    alone: list[int] = []
    changes: list[float] = []

    async def trial(stall: bool) -> Measured[list[int]]:
        contestant = gateway(redis, 1 / BEAT_SECONDS)
        async with serving(ours, contestant), crowd(ours, contestant.client, STALL_SOCKETS) as clients:
            await asyncio.sleep(1)
            if stall:
                clients[0].stall()
            took = await ages(clients[1:], STALL_SECONDS)
        p99 = sorted(took)[math.ceil(0.99 * len(took)) - 1]
        if stall and alone:
            changes.append(p99 / alone[-1] - 1)
        elif not stall:
            alone.append(p99)
        told = sorted(changes)
        return took, f"p99 {told[len(told) // 2]:+.1%} in the median pair" if stall and told else ""

    trials = [
        Trial("ceiling", "all read", partial(trial, False)),
        Trial("ours", "one of them stalls", partial(trial, True)),
    ]
    return await compare_latencies(f"age at {STALL_SOCKETS - 1:,} others", trials, rounds=STALL_ROUNDS)
