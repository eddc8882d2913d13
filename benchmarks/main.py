"""`make bench`: figures beside peers and a ceiling of the same run, on servers of its own.

The servers are those of `hundi up`, with the same durability (fsync on), in a directory that is thrown
away. Run it on an idle machine.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import fanout, feed, margin, rows
from config.settings import Settings, settings
from stack import data_dir, ports, servers
from stack.processes import server_processes
from stack.supervision import supervised
from storage.database import open_database
from storage.migrate import migrate
from storage.redis_client import open_redis

PORT_OFFSET = 500
"""Added to the stack's own offset, so that a running market is left alone (and would blur the figures)."""


def main(_arguments: Sequence[str] = ()) -> None:
    """Raises StackError when the servers cannot start."""
    console = Console(width=124)
    with tempfile.TemporaryDirectory(prefix="hundi-bench-") as scratch:
        # PostgreSQL may run as another user, who must be able to pass.
        Path(scratch).chmod(0o755)
        ours = settings().model_copy(
            update={"data_dir": Path(scratch), "port_offset": settings().port_offset + PORT_OFFSET}
        )
        found = _measured(ours, console)
    rows.show(found, console)
    console.print(f"kept in {rows.keep(found)}", highlight=False)


def _measured(ours: Settings, console: Console) -> list[rows.Row]:
    with data_dir.claimed(ours.data_dir) as directory:
        ports.ensure_free(ours)
        servers.prepare(directory)
        processes = [p for p in server_processes(ours, directory) if p.name in ("postgres", "valkey")]
        with supervised(ours, directory, processes) as supervisor:
            for process in processes:
                supervisor.start(process.name)
            for process in processes:
                supervisor.wait_healthy(process.name)
            migrate(ours.postgres_dsn, create_database=True)
            return asyncio.run(_rows(ours, console))


async def _rows(ours: Settings, console: Console) -> list[rows.Row]:
    async with open_database(ours.postgres_dsn) as database, open_redis(ours.redis_dsn) as redis:
        with console.status("margin checks"):
            found = await margin.rows(redis, database)
        with console.status("feed ingest"):
            found += await feed.rows(ours)
        with console.status("fan-out to sockets"):
            return found + await fanout.rows(ours, redis)
