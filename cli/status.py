"""`hundi status`: the servers, every process that reports health, and reports not booked, as one table."""

import asyncio
import time

from redis import Redis
from rich.console import Console
from rich.table import Table

from bus.health import read_all
from cli.sentences import place
from config.settings import Settings, settings
from domain.time import NANOS
from stack import data_dir, probes
from stack.errors import StackError
from storage.database import open_database
from storage.journals import report_ages
from storage.journals.report_ages import Late


def main() -> None:
    """Print the table; raises StackError when Redis, where health is kept, is away."""
    here = settings()
    if not probes.redis_answers(here):
        raise StackError(f"hundi is not running: Redis does not answer at {place(here.redis_dsn)}")
    table = Table(box=None, title=_title(), title_justify="left", pad_edge=False)
    for column in ("process", "health", "pid", "up for"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("pid", "up for") else "left")
    table.add_column("detail", overflow="fold")
    table.add_row("postgres", _word(probes.postgres_answers(here)), "", "", place(here.postgres_dsn))
    table.add_row("valkey", _word(True), "", "", place(here.redis_dsn))
    table.add_row("temporal", _word(probes.temporal_answers(here)), "", "", here.temporal_target)
    for index, exchange in enumerate(here.exchanges):
        port = here.port("fix", index)
        healthy = probes.accepts(here.host, port)
        table.add_row(f"simulator-{exchange.lower()}", _word(healthy), "", "", f"FIX {port}")
    with Redis.from_url(here.redis_dsn) as redis:
        for name, health in read_all(redis).items():
            table.add_row(name, _word(health.ready), str(health.pid), _since(health.since_ns), health.detail)
    table.add_row("reports", *_reports(here))
    Console().print(table)


def _title() -> str:
    pid = data_dir.owner(settings().data_dir.absolute())
    return f"hundi up, pid {pid}" if pid else "no `hundi up` on this data directory"


def _reports(here: Settings) -> tuple[str, str, str, str]:
    """Read from the books themselves, so that no process need run to be accused."""
    if not probes.postgres_answers(here):
        return "[red]not known[/red]", "", "", ""
    late = asyncio.run(_late(here))
    if words := late.sentence(time.time_ns()):
        return "[red]late[/red]", "", "", words
    return "[green]booked[/green]", "", "", ""


async def _late(here: Settings) -> Late:
    async with open_database(here.postgres_dsn, size=1, application="status") as database:
        return await report_ages.late(database, time.time_ns())


def _since(since_ns: int) -> str:
    """The two largest units: `45 s`, `12 min 5 s`, `3 h 2 min`, `4 d 11 h`."""
    rest, told = (time.time_ns() - since_ns) // NANOS, []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            told.append(f"{count} {unit}")
    return " ".join(told[:2]) or "0 s"


def _word(healthy: bool) -> str:
    return "[green]healthy[/green]" if healthy else "[red]away[/red]"
