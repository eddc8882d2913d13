"""Is it healthy? One question a server or process, asked the way its clients would; never raises."""

import socket

import httpx
from psycopg import pq
from psycopg.conninfo import make_conninfo
from redis import Redis
from redis.exceptions import RedisError

from bus.health import read_one
from config.settings import Settings

SECONDS = 1.0


def postgres_answers(settings: Settings) -> bool:
    """Accepts sessions; asked as pg_isready asks, since the roles may not be made yet."""
    where = make_conninfo(settings.postgres_dsn, password="", connect_timeout=2)
    return pq.PGconn.ping(where.encode()) == pq.Ping.OK


def redis_answers(settings: Settings) -> bool:
    try:
        with _redis(settings) as redis:
            return bool(redis.ping())
    except (RedisError, OSError):
        return False


def temporal_answers(settings: Settings) -> bool:
    """The UI is there and, through it, the frontend knows our namespaces."""
    ui = f"http://{settings.host}:{settings.port('temporal_ui')}/api/v1/namespaces"
    ours = (settings.temporal_namespace, settings.temporal_operations_namespace)
    try:
        return all(httpx.get(f"{ui}/{name}", timeout=2 * SECONDS).is_success for name in ours)
    except httpx.HTTPError:
        return False


def accepts(host: str, port: int) -> bool:
    """A TCP connection is taken."""
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError:
        return False
    return True


def reports_health(settings: Settings, process: str, pid: int) -> bool:
    """The process itself, not one before it, says that it is ready."""
    try:
        with _redis(settings) as redis:
            health = read_one(redis, process)
    except (RedisError, OSError):
        return False
    return health is not None and health.pid == pid


def _redis(settings: Settings) -> Redis:
    return Redis.from_url(settings.redis_dsn, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
