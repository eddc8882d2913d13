"""Real servers for the whole run, and the whole market for those who ask.

`servers` is PostgreSQL, Valkey and Temporal, migrated and seeded, started once on free ports; `database`,
`redis` and `temporal_client` speak to them. `market` is a second, complete stack by the same process table as
`hundi up`; nothing in it restarts by itself, so that a test can kill a process and look. Run side by side
(`-n 2`), the tests of the whole market keep to one process and all others to the other.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from redis.asyncio import Redis
from temporalio.client import Client

from bus.redis_client import open_redis
from config.settings import Settings
from stack.processes import server_processes
from stack.servers import redis_admin_dsn
from storage.database import Database, open_database
from tests.support.market import Market, free_offset, running

# Tests want a market that answers them, not one that is busy with itself; every process inherits it.
os.environ.setdefault("HUNDI_MARKET_PACE", "0.5")

# A fault that a test provokes is written as Python writes it: with every local value it took seconds, and
# nothing else of the process ran meanwhile.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

pytest_plugins = ["tests.support.market_data"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two lanes for `pytest -n 2`: tests of the whole market, and all others. A pure test needs no server."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("market" if "whole_market" in fixtures else "others"))
        if not fixtures & {"servers", "whole_market", "fresh_settings"} and not item.get_closest_marker(
            "waits"
        ):
            item.add_marker(pytest.mark.pure)


@contextmanager
def a_data_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="hundi-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def fresh_settings() -> Iterator[Settings]:
    """Settings of a stack that nobody has started: an empty data directory and free ports."""
    with a_data_directory() as directory:
        yield Settings(data_dir=directory, port_offset=free_offset())


@pytest.fixture(scope="session")
def servers() -> Iterator[Settings]:
    """Settings whose servers answer, schema and demo accounts in place; all is gone after the run."""
    with a_data_directory() as directory:
        settings = Settings(data_dir=directory, port_offset=free_offset())
        with running(settings, server_processes(settings, directory)):
            yield settings


@pytest_asyncio.fixture(scope="session")
async def database(servers: Settings) -> AsyncIterator[Database]:
    async with open_database(servers.postgres_dsn) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def redis(servers: Settings) -> AsyncIterator[Redis]:
    async with open_redis(servers.redis_dsn) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def redis_admin(servers: Settings) -> AsyncIterator[Redis]:
    """May do what no process of ours may: forget everything, say."""
    async with open_redis(redis_admin_dsn(servers)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def temporal_client(servers: Settings) -> Client:
    return await Client.connect(servers.temporal_target, namespace=servers.temporal_namespace)


@pytest.fixture(scope="session")
def whole_market() -> Iterator[Market]:
    with a_data_directory() as directory:
        settings = Settings(data_dir=directory, port_offset=free_offset())
        with Market.opened(settings, directory) as market:
            yield market


@pytest.fixture
def market(whole_market: Market) -> Market:
    """The complete stack, every process healthy when the test begins, whatever the test before did to it."""
    whole_market.heal()
    return whole_market
