"""The exchange edge under a test's hand: both simulators and the gateway as processes on real servers."""

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis import Redis

from bus.health import read_one
from config.settings import Settings
from stack import probes
from tests.support.market import environment


@dataclass
class Edge:
    settings: Settings
    simulators: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    gateway: "subprocess.Popen[bytes] | None" = None

    def start_exchange(self, name: str) -> None:
        program = f"from workers.simulator import main; main({name!r})"
        self.simulators[name] = start(self.settings, program)
        port = self.settings.port("fix", self.settings.exchanges.index(name))
        until(lambda: probes.accepts(self.settings.host, port))

    def stop_exchange(self, name: str) -> None:
        self.simulators[name].terminate()
        self.simulators[name].wait(20)

    def start_gateway(self, crash_at: str = "", *, wait: bool = True) -> None:
        self.gateway = start(self.settings, "from workers.gateway import main; main()", crash_at)
        with Redis.from_url(self.settings.redis_dsn) as redis:
            until(lambda: not wait or ((h := read_one(redis, "gateway")) and h.pid == self.gateway_pid))

    @property
    def gateway_pid(self) -> int:
        assert self.gateway is not None
        return self.gateway.pid

    def kill_gateway(self) -> None:
        assert self.gateway is not None
        self.gateway.send_signal(signal.SIGKILL)
        self.gateway.wait(10)

    def wait_for_crash(self) -> None:
        """Until the gateway has killed itself at its crash point."""
        assert self.gateway is not None
        assert self.gateway.wait(30) == -signal.SIGKILL

    def trades(self, exchange: str = "NSE") -> list[dict[str, str]]:
        """The exchange's own file."""
        files = sorted(self.settings.data_dir.glob(f"exchange-{exchange}-trades-*.csv"))
        return [row for file in files for row in csv.DictReader(file.open())]


@contextmanager
def edge(settings: Settings) -> Iterator[Edge]:
    """Both exchanges running; the gateway is the test's to start."""
    opened = Edge(settings)
    try:
        for name in settings.exchanges:
            opened.start_exchange(name)
        yield opened
    finally:
        for process in filter(None, (opened.gateway, *opened.simulators.values())):
            if process.poll() is None:
                process.terminate()
                process.wait(20)


def start(settings: Settings, program: str, crash_at: str = "", **changes: str) -> "subprocess.Popen[bytes]":
    """A Python process; `changes` are further settings."""
    further = {f"HUNDI_{name.upper()}": value for name, value in changes.items()}
    return subprocess.Popen([sys.executable, "-c", program], env=environment(settings, crash_at) | further)


def until(condition: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
