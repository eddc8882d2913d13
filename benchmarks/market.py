"""The market under measurement: the stack of `hundi up` and the peers, in a directory that is thrown away.

Each suite says which processes it needs and gets these alone, so that nothing else takes the cores. The
servers are as durable as in `hundi up`: fsync and synchronous commit on. Opened once by benchmarks/main.py.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import cpu
from benchmarks.load import load_process
from cli.up import seed_now
from config.settings import Settings, settings
from config.tokens import issue
from stack import cluster, data_dir, ports, probes, servers
from stack.processes import EXCHANGES, PLATFORM, Process, platform_processes, server_processes
from stack.supervision import Supervisor, supervised
from storage.database import Database
from storage.migrate import migrate

PORT_OFFSET = 500
"""Added to the stack's own offset, so that a running market is left alone (and would blur the figures)."""
STORES = ("postgres", "valkey")
SAMPLED = {"0": "api-unsampled", "0.1": "api-sampled-tenth", "1": "api-sampled-all"}
"""APIs beside the market's own, by the share of orders that they trace."""
PEERS = {"peer-insert": "benchmarks.peers.insert", "peer-tutorial": "benchmarks.peers.tutorial"}
OFF_AIR = "simulator-nse-off-air"
"""The NSE's simulator in the place of the market's own, its feed where nobody listens."""
_FORGET = """
    SET session_replication_role = replica;  -- The record is truncated by nobody else.
    TRUNCATE orders, order_intake, idempotency_keys, audit_log
"""
_CLIENTS = "SELECT user_id, client_id FROM users WHERE client_id LIKE 'DEMO%%' ORDER BY user_id LIMIT %s"


@dataclass(frozen=True)
class Market:
    settings: Settings
    supervisor: Supervisor
    load: ProcessPoolExecutor
    """Where benchmarks/load.py runs."""
    extra_ports: Mapping[str, int]

    def run_only(self, *names: str) -> None:
        """These processes, healthy, and no others; the stores always run."""
        wanted = {*STORES, *names}
        for wave in reversed(self.supervisor.waves().values()):
            self.supervisor.stop(*(name for name in wave if name not in wanted))
        for wave in self.supervisor.waves().values():
            for name in wanted.intersection(wave):
                self.supervisor.start(name)
            for name in wanted.intersection(wave):
                self.supervisor.wait_healthy(name)

    @property
    def platform(self) -> list[str]:
        """Temporal and the processes of `hundi up`."""
        return ["temporal", *(process.name for process in platform_processes(self.settings))]

    def port(self, name: str) -> int:
        return self.extra_ports.get(name) or self.settings.port(name)

    def pin(self, name: str, core: int) -> None:
        cpu.pin(self.supervisor.pid(name), {core})

    def unpin(self, name: str) -> None:
        cpu.pin(self.supervisor.pid(name), set(cpu.CORES))

    def cpu(self) -> dict[str, float]:
        """CPU-seconds of each running process so far."""
        return {name: cpu.seconds(pid) for name, pid in self.supervisor.pids().items()}

    def cpu_note(self, before: Mapping[str, float], operations: int) -> str:
        """`CPU ms: api 0.29, postgres 0.11` an operation since then; what is below 3% of all is left out."""
        used = {name: (now - before[name]) / operations * 1000 for name, now in self.cpu().items()}
        least, largest_first = 0.03 * sum(used.values()), sorted(used, key=lambda name: -used[name])
        return (
            f"CPU ms: {', '.join(f'{name} {used[name]:.2f}' for name in largest_first if used[name] > least)}"
        )

    async def tokens(self, database: Database, users: int) -> list[str]:
        """Of so many demo clients."""
        async with database.reading() as conn:
            clients = await (await conn.execute(_CLIENTS, (users,))).fetchall()
        now = int(time.time())
        return [issue(self.settings, row["user_id"], row["client_id"], "CLIENT", now)[0] for row in clients]

    async def forget_orders(self) -> None:
        """So that no suite meets the backlog of another; orders are only ever forgotten here."""
        where = cluster.superuser_dsn(self.settings)
        async with await psycopg.AsyncConnection.connect(where, autocommit=True) as conn:
            await conn.execute(_FORGET)


# What is measured is the platform: the simulated market is quiet meanwhile. Every process inherits it.
os.environ.setdefault("HUNDI_MARKET_PACE", "0.5")


@contextmanager
def market() -> Iterator[Market]:
    """The stores, migrated and seeded; what else runs is said by `run_only`. Raises StackError."""
    with tempfile.TemporaryDirectory(prefix="hundi-bench-") as scratch, load_process() as load:
        ours = settings().model_copy(
            update={"data_dir": Path(scratch), "port_offset": settings().port_offset + PORT_OFFSET}
        )
        # Crowds of one address, as the benchmarks' are.
        os.environ.setdefault("HUNDI_CONNECTIONS_PER_ADDRESS", str(ours.connections))
        with data_dir.claimed(ours.data_dir) as directory:
            ports.ensure_free(ours)
            servers.prepare(directory)
            extra = _extra_ports(ours)
            processes = server_processes(ours, directory) + platform_processes(ours) + _extra(ours, extra)
            with supervised(ours, directory, processes, restart=False) as supervisor:
                opened = Market(ours, supervisor, load, extra)
                opened.run_only()
                cluster.make_roles(ours)
                migrate(ours.postgres_owner_dsn)
                seed_now(ours)
                yield opened


def _extra_ports(ours: Settings) -> dict[str, int]:
    return {name: ours.port("api", 10 + place) for place, name in enumerate((*PEERS, *SAMPLED.values()))}


def _extra(ours: Settings, extra_ports: Mapping[str, int]) -> list[Process]:
    """Peers and further APIs; healthy when they listen."""
    commands = {name: ["-m", module, str(extra_ports[name])] for name, module in PEERS.items()}
    commands |= {name: ["-m", "cli.main", "api"] for name in SAMPLED.values()}
    ratios = {name: ratio for ratio, name in SAMPLED.items()}
    # So that a load may be the NSE's feed while its FIX sessions are up.
    off_air = Process(
        OFF_AIR,
        EXCHANGES,
        [sys.executable, "-m", "cli.main", "simulator", "NSE"],
        partial(_listens, ours.host, ours.port("fix")),
        {"HUNDI_FEED_PORT": str(ours.feed_port + 60)},
    )
    return [off_air] + [
        Process(
            name,
            PLATFORM,
            [sys.executable, *command],
            partial(_listens, ours.host, extra_ports[name]),
            {
                "HUNDI_TRACE_SAMPLE_RATIO": ratios[name],
                "HUNDI_API_PORT": str(extra_ports[name] - ours.port_offset),
            }
            if name in ratios
            else {},
        )
        for name, command in commands.items()
    ]


def _listens(host: str, port: int, _pid: int) -> bool:
    return probes.accepts(host, port)
