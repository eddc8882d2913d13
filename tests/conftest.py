"""Real servers for the whole run, and the whole market for those who ask.

`servers` is PostgreSQL, Valkey and Temporal, migrated and seeded, started once on free ports; `database`,
`redis` and `temporal_client` speak to them. `market` is a second, complete stack by the same process table as
`hundi up`; nothing in it restarts by itself, so that a test can kill a process and look. Run side by side
(`-n 2`), each process has servers of its own, and one has the market.
"""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from redis.asyncio import Redis
from temporalio.client import Client
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

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
SERVERS = {"servers", "whole_market", "fresh_settings"}


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """One process has all files that use the whole market; a file's tests stay together, in their order.

    pytest-xdist's own groups (`loadgroup`) do nothing with pytest 9.2, where an item's id cannot be changed.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "market" if uses_market(file) else file


@cache
def uses_market(file: str) -> bool:
    text = (Path(__file__).parents[1] / file).read_text()
    return re.search(r"^from tests\.support\.market import .*\bMarket\b", text, re.MULTILINE) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    return Lanes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the pure tests: those that need no server."""
    for item in items:
        needs_server = SERVERS & set(getattr(item, "fixturenames", ()))
        if not needs_server and item.get_closest_marker("waits") is None:
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
