"""Real servers for the whole run: PostgreSQL, Valkey, started once from their wheels on free ports."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from config.settings import Settings
from stack import servers as embedded
from stack.processes import Process, server_processes
from storage.database import Database, open_database
from storage.migrate import migrate
from storage.redis_client import open_redis

START_SECONDS = 60
STORES = ("postgres", "valkey")


@pytest.fixture(scope="session")
def servers() -> Iterator[Settings]:
    """Settings whose PostgreSQL and Valkey answer, the schema in place; all is gone after the run."""
    directory = Path(tempfile.mkdtemp(prefix="hundi-test-"))
    directory.chmod(0o755)  # PostgreSQL may run as another user
    settings = Settings(data_dir=directory, port_offset=_free_offset())
    embedded.prepare(directory)
    processes = [p for p in server_processes(settings, directory) if p.name in STORES]
    running = [_start(process, directory) for process in processes]
    try:
        for process, child in zip(processes, running, strict=True):
            _await_healthy(process, child)
        migrate(settings.postgres_dsn, create_database=True)
        yield settings
    finally:
        for child in reversed(running):
            child.terminate()
            child.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def database(servers: Settings) -> AsyncIterator[Database]:
    async with open_database(servers.postgres_dsn) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def redis(servers: Settings) -> AsyncIterator[Redis]:
    async with open_redis(servers.redis_dsn) as opened:
        yield opened


def _start(process: Process, directory: Path) -> subprocess.Popen[bytes]:
    with (directory / f"{process.name}.log").open("wb") as log:
        environment = os.environ | process.environment
        return subprocess.Popen(process.command, stdout=log, stderr=log, env=environment, cwd="/")


def _await_healthy(process: Process, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not process.is_healthy(child.pid):
        assert child.poll() is None, f"{process.name} ended with {child.returncode}"
        assert time.monotonic() < deadline, f"{process.name} is not healthy after {START_SECONDS} s"
        time.sleep(0.05)


def _free_offset() -> int:
    """An offset at which both stores' ports are free now."""
    for offset in range(20_000, 40_000, 50):
        if all(_is_free(Settings(port_offset=offset).port(name)) for name in ("postgres", "redis")):
            return offset
    raise RuntimeError("no free ports between 20000 and 50000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
