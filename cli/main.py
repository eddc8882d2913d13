"""The `hundi` command line: each command is a few lines and imports what it runs only when it is run.

What goes wrong is said in one sentence with exit code 1; a traceback is a bug of ours.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from config.settings import settings
from stack.errors import StackError

app = typer.Typer(
    help="Hundi: an order platform on which each order is one durable workflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@contextmanager
def _one_sentence() -> Iterator[None]:
    import psycopg
    from redis.exceptions import RedisError

    # The pool warns of each attempt; the sentence below says it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        yield
    except StackError as error:
        sys.exit(f"hundi: {error}")
    except psycopg.OperationalError as error:
        sys.exit(f"hundi: PostgreSQL does not answer: {str(error).strip().splitlines()[-1]}")
    except RedisError as error:
        sys.exit(f"hundi: Redis does not answer: {error}")


def _run(module: str, *arguments: object) -> None:
    if importlib.util.find_spec(module) is None:
        sys.exit(f"hundi: this version has no {module.rpartition('.')[2]}")
    with _one_sentence():
        importlib.import_module(module).main(*arguments)


@app.command()
def up(
    servers: Annotated[bool, typer.Option("--servers", help="Only the servers, seeded.")] = False,
) -> None:
    """Start the whole stack in the foreground; Ctrl-C stops it."""
    from cli.up import up as run

    with _one_sentence():
        run(settings(), servers_only=servers)


@app.command()
def stop() -> None:
    """Stop the stack of this data directory."""
    from cli.up import stop as run

    with _one_sentence():
        run(settings())


@app.command()
def status() -> None:
    """Which processes are healthy, and since when."""
    _run("cli.status")


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from storage.migrate import migrate as run

    with _one_sentence():
        run(settings().postgres_owner_dsn)


@app.command()
def seed() -> None:
    """Fill in the instrument master and, in the embedded default, the demo accounts."""
    from cli.up import seed_now

    with _one_sentence():
        seed_now(settings())


@app.command()
def api() -> None:
    """The HTTP API."""
    _run("workers.api")


@app.command()
def order_worker() -> None:
    """An order worker; HUNDI_WORKER_ID names it."""
    _run("workers.order_worker")


@app.command()
def gateway() -> None:
    """The exchange gateway."""
    _run("workers.gateway")


@app.command()
def simulator(exchange: str) -> None:
    """The simulator of an exchange, NSE or BSE."""
    _run("workers.simulator", exchange)


@app.command()
def distributor() -> None:
    """The market data distributor: feeds in, ticks onto the bus, candles kept."""
    _run("workers.distributor")


@app.command()
def realtime() -> None:
    """The stream of ticks and order updates."""
    _run("workers.realtime")


@app.command()
def operations() -> None:
    """Schedules: market day, reconciliation, square-off, settlement, reports."""
    _run("workers.operations")


@app.command()
def codes() -> None:
    """Every reject code, as docs/reject-codes.md has them."""
    _run("cli.codes")


@app.command()
def fix(order_id: str) -> None:
    """What was said to the exchange about an order, and what it answered."""
    _run("cli.fix", order_id)


@app.command()
def ban_list(file: str) -> None:
    """Take over the exchange's list of securities whose derivatives may only be reduced (fo_secban)."""
    _run("cli.ban_list", file)


@app.command(context_settings=_PASSED_ON)
def reconcile(context: typer.Context) -> None:
    """Hold a day's trades against the exchanges' own files."""
    _run("cli.reconcile", context.args)


@app.command(context_settings=_PASSED_ON)
def replay(context: typer.Context) -> None:
    """Feed real ticks or order flow through the exchange simulator."""
    _run("cli.replay", context.args)


@app.command(context_settings=_PASSED_ON)
def demo(context: typer.Context) -> None:
    """Orders of each kind on a running stack, each step printed."""
    _run("cli.demo", context.args)


@app.command(context_settings=_PASSED_ON)
def day(context: typer.Context) -> None:
    """A whole trading day on a running stack, compressed into minutes."""
    _run("cli.day", context.args)


@app.command(context_settings=_PASSED_ON)
def bench(context: typer.Context) -> None:
    """Figures against peers, as ratios."""
    _run("benchmarks.main", context.args)


if __name__ == "__main__":
    app()
