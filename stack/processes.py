"""The table of processes: what runs, in which order it starts, how it is stopped and how its health shows.

One table serves `hundi up` and the tests. A wave is started at once when the wave before is healthy, and
stopped in reverse. The servers are probed by their protocol, our own processes by their health keys.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from config.settings import Settings
from stack import probes, servers
from stack.ordinary_user import as_ordinary_user

Probe = Callable[[int], bool]
"""Is the process with this pid healthy? Never raises."""


@dataclass(frozen=True, slots=True)
class Process:
    name: str
    wave: int
    command: list[str]
    is_healthy: Probe
    environment: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    """How long it may take to stop before it is killed."""


DATABASE, SERVERS, EXCHANGES, PLATFORM = range(4)


def server_processes(settings: Settings, directory: Path) -> list[Process]:
    """PostgreSQL, Valkey, Temporal."""
    return [
        Process(
            "postgres",
            DATABASE,
            servers.postgres_command(settings, directory),
            lambda _: probes.postgres_answers(settings),
            # A fast shutdown: clients are sent away, everything committed is on disk.
            stop_signal="INT",
            stop_seconds=60,
        ),
        Process(
            "valkey",
            SERVERS,
            servers.valkey_command(settings, directory),
            lambda _: probes.redis_answers(settings),
        ),
        Process(
            "temporal",
            SERVERS,
            servers.temporal_command(settings, directory),
            lambda _: probes.temporal_answers(settings),
        ),
    ]


def platform_processes(settings: Settings) -> list[Process]:
    """The exchange simulators, then everything of ours."""
    simulators = [
        Process(
            f"simulator-{exchange.lower()}",
            EXCHANGES,
            _hundi(settings, "simulator", exchange),
            partial(_listens, settings, settings.port("fix", index)),
        )
        for index, exchange in enumerate(settings.exchanges)
    ]
    workers = [
        _ours(settings, f"order-worker-{n}", "order-worker", {"HUNDI_WORKER_ID": f"order-worker-{n}"})
        for n in range(settings.order_workers)
    ]
    realtime = [
        _ours(settings, f"realtime-{n}", "realtime", _realtime(settings, n))
        for n in range(settings.realtime_gateways)
    ]
    gateway, api, distributor, operations = (
        _ours(settings, name, name) for name in ("gateway", "api", "distributor", "operations")
    )
    return [*simulators, gateway, *workers, api, distributor, *realtime, operations]


def _ours(settings: Settings, name: str, command: str, environment: dict[str, str] | None = None) -> Process:
    return Process(
        name,
        PLATFORM,
        _hundi(settings, command),
        lambda pid: probes.reports_health(settings, name, pid),
        environment or {},
    )


def _realtime(settings: Settings, number: int) -> dict[str, str]:
    return {
        "HUNDI_REALTIME_ID": f"realtime-{number}",
        "HUNDI_STREAM_PORT": str(settings.stream_port + number),
    }


def _listens(settings: Settings, port: int, _pid: int) -> bool:
    return probes.accepts(settings.host, port)


def _hundi(settings: Settings, *arguments: str) -> list[str]:
    code = [Path(sys.executable), Path(sys.prefix) / "lib", Path(__file__)]
    command = [sys.executable, "-m", "cli.main", *arguments]
    return as_ordinary_user(command, [*code, settings.data_dir.absolute()])
