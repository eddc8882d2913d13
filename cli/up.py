"""`hundi up`: the whole stack in the foreground, each process announced when it is healthy.

Order: checks, servers, migration, seed, exchanges, platform; the way down is the reverse. Whatever stops it
is said in one sentence. The processes run under supervisord, which restarts the ones that die.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from config.settings import Settings, without_password
from stack import cluster, data_dir, ports, servers
from stack.errors import StackError
from stack.processes import EXCHANGES, platform_processes, server_processes
from stack.supervision import GONE, Supervisor, stop_leftovers, supervised

_WATCH_SECONDS = 1.0
_console = Console(highlight=False, soft_wrap=True)


def up(settings: Settings, *, servers_only: bool = False) -> None:
    """Run until Ctrl-C, SIGTERM or `hundi stop`; raises StackError when it cannot start or go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with data_dir.claimed(settings.data_dir) as directory:
        if stop_leftovers(directory):
            _say("stopped what an earlier run had left behind")
        ports.ensure_free(settings)
        _timed("data", lambda: servers.prepare(directory))
        processes = server_processes(settings, directory)
        if not servers_only:
            processes += platform_processes(settings)
        with supervised(settings, directory, processes) as supervisor:
            try:
                _start(settings, supervisor)
                started = supervisor.pids()
                _say(_welcome(settings, directory, set(supervisor.processes)))
                _watch(supervisor, started)
            except KeyboardInterrupt:
                _say("stopping")
            finally:
                # A second Ctrl-C must not interrupt the orderly way down.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _say("stopped")


def stop(settings: Settings) -> None:
    """Stop the `hundi up` of this data directory and wait until it is gone."""
    directory = settings.data_dir.absolute()
    pid = data_dir.owner(directory)
    if pid is None:
        leftovers = stop_leftovers(directory)
        _say("stopped what an earlier run had left behind" if leftovers else "hundi is not running")
        return
    os.kill(pid, signal.SIGTERM)
    while data_dir.owner(directory) == pid:
        time.sleep(0.1)
    _say("stopped")


def seed_now(settings: Settings, *, demo_accounts: bool = False) -> None:
    """Seed the database that `settings` names; the embedded default has the demo accounts anyhow."""
    from cli.books import opened
    from storage.seed import seed

    async def run() -> None:
        async with opened(settings.postgres_owner_dsn, "seed") as database:
            await seed(database, demo_accounts=demo_accounts or settings.embedded)

    asyncio.run(run())


def _start(settings: Settings, supervisor: Supervisor) -> None:
    from storage.migrate import migrate

    def prepare_books() -> None:
        _timed("roles", lambda: cluster.make_roles(settings))
        _timed("migrate", lambda: migrate(settings.postgres_owner_dsn))
        _timed("seed", lambda: seed_now(settings))

    for wave, names in supervisor.waves().items():
        if wave == EXCHANGES:
            prepare_books()
        begun = time.monotonic()
        for name in names:
            supervisor.start(name)
        for name in names:
            supervisor.wait_healthy(name, timeout=120)
            _say(f"  {name:<16} healthy after {time.monotonic() - begun:.1f} s")
    if EXCHANGES not in supervisor.waves():
        prepare_books()


def _watch(supervisor: Supervisor, pids: dict[str, int]) -> None:
    """Tell of every death and restart since `pids`; a process that supervisord gave up is tried for ever."""
    while True:
        time.sleep(_WATCH_SECONDS)
        try:
            now = supervisor.pids()
            for name, pid in now.items():
                if pid != pids.get(name):
                    _say(f"  {name} died and was restarted (pid {pid}): {supervisor.reason(name)}")
            for name in supervisor.given_up():
                supervisor.start(name)
        except GONE:
            raise StackError("supervisord ended unexpectedly, and its processes with it") from None
        pids = pids | now


def _timed(name: str, step: Callable[[], object]) -> None:
    begun = time.monotonic()
    step()
    _say(f"  {name:<16} done in {time.monotonic() - begun:.1f} s")


def _welcome(settings: Settings, directory: Path, running: set[str]) -> str:
    host = settings.host
    urls = {
        "API": f"http://{host}:{settings.port('api')}/docs",
        "stream": f"http://{host}:{settings.port('stream')}/api/v1/stream",
        "Temporal UI": f"http://{host}:{settings.port('temporal_ui')}",
        "PostgreSQL": without_password(settings.postgres_dsn),
        "Redis": without_password(settings.redis_dsn),
        "logs": str(directory / "logs"),
    }
    for name, process in (("API", "api"), ("stream", "realtime-0")):
        if process not in running:
            del urls[name]
    return "\n".join(["hundi is up", *(f"  {name:<12} {url}" for name, url in urls.items())])


def _say(text: str) -> None:
    _console.print(text, markup=False)
