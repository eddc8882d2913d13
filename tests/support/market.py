"""The whole stack under a test's hand: any process killed, stopped and started by name.

Every call blocks; from an async test use `await asyncio.to_thread(market.process("gateway").start)`.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.up import seed_now
from config.settings import Settings
from stack import cluster, ports, servers
from stack.processes import EXCHANGES, Process, platform_processes, server_processes
from stack.supervision import STOPPED, Supervisor, supervised
from storage.migrate import migrate


@dataclass(frozen=True)
class MarketProcess:
    name: str
    supervisor: Supervisor

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self.supervisor.pid(self.name)

    def kill9(self) -> None:
        """kill -9, and wait until it is gone. It stays dead until `start`."""
        os.kill(self.pid, signal.SIGKILL)
        while self.supervisor.state(self.name) not in STOPPED:
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """For instance SIGSTOP and SIGCONT."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        self.supervisor.stop(self.name)

    def start(self) -> None:
        """Start it and return at once."""
        self.supervisor.start(self.name)

    def wait_healthy(self, timeout: float = 60) -> None:
        self.supervisor.wait_healthy(self.name, timeout)

    @property
    def log(self) -> str:
        return (self.supervisor.directory / "logs" / f"{self.name}.log").read_text(errors="replace")


@dataclass(frozen=True)
class Market:
    settings: Settings
    supervisor: Supervisor

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings, directory: Path) -> Iterator["Market"]:
        processes = server_processes(settings, directory) + platform_processes(settings)
        with running(settings, processes) as supervisor:
            yield cls(settings, supervisor)

    def process(self, name: str) -> MarketProcess:
        """`postgres`, `simulator-nse`, `order-worker-0`, ...: the names of `stack/processes.py`."""
        return MarketProcess(name, self.supervisor)

    @contextmanager
    def crashing(self, name: str, point: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The process, for once started here with a crash point (config/crash_points.py) to die at; when
        the context is left it runs again as before, healthy."""
        ours, row = self.process(name), self.supervisor.processes[name]
        ours.stop()
        dying = subprocess.Popen(row.command, env=environment(self.settings, point) | row.environment)
        try:
            yield dying
        finally:
            dying.kill()
            dying.wait()
            ours.start()
            ours.wait_healthy()

    def heal(self) -> None:
        """Start whatever is dead and wait until everything is healthy."""
        for names in self.supervisor.waves().values():
            start_and_wait(self.supervisor, names)

    @property
    def api_url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port('api')}"

    @property
    def stream_url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port('stream')}"


@contextmanager
def running(settings: Settings, processes: list[Process]) -> Iterator[Supervisor]:
    """These processes, migrated and seeded, healthy, until the context is left."""
    directory = settings.data_dir
    (directory / "logs").mkdir(exist_ok=True)
    servers.prepare(directory)
    with supervised(settings, directory, processes, restart=False) as supervisor:
        waves = supervisor.waves()
        for wave, names in waves.items():
            if wave == EXCHANGES:
                prepare_books(settings)
            start_and_wait(supervisor, names)
        if EXCHANGES not in waves:
            prepare_books(settings)
        yield supervisor


def environment(settings: Settings, crash_at: str = "") -> dict[str, str]:
    """Of a process that a test starts itself."""
    return os.environ | {
        "HUNDI_DATA_DIR": str(settings.data_dir),
        "HUNDI_PORT_OFFSET": str(settings.port_offset),
        "HUNDI_CRASH_AT": crash_at,
    }


def start_and_wait(supervisor: Supervisor, names: list[str]) -> None:
    for name in names:
        if not supervisor.pid(name):
            supervisor.start(name)
    for name in names:
        supervisor.wait_healthy(name, timeout=90)


def prepare_books(settings: Settings) -> None:
    cluster.make_roles(settings)
    migrate(settings.postgres_owner_dsn)
    seed_now(settings)


def free_offset() -> int:
    """An offset at which every port of the stack is free now, below the kernel's ephemeral ones.

    Of two runs side by side each has every second one, and no port of one is a port of the other.
    """
    lane = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2
    for offset in random.sample(range(2_000 + 20 * lane, 20_000, 40), 200):
        settings = Settings(port_offset=offset)
        if all(ports.is_free(settings.host, port) for port in ports.ports(settings)):
            return offset
    raise RuntimeError("no free ports between 2000 and 30000")
