"""The `hundi` command line: each command is a few lines and imports what it runs only when it is run.

What goes wrong is one sentence with exit code 1, what was asked wrongly with 2 (cli/sentences.py).
"""

import importlib
from typing import Annotated

import typer

from cli.commands import SETTINGS, Commands
from cli.replay import app as replay
from cli.sentences import leave, one_sentence
from config.settings import settings

app = typer.Typer(
    cls=Commands,
    context_settings=SETTINGS,
    help="Hundi: an order platform on which each order is one durable workflow.",
    epilog="`hundi COMMAND -h` tells about one command, `hundi --version` which version this is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(replay, name="replay")


def _run(module: str, *arguments: object) -> None:
    with one_sentence():
        importlib.import_module(module).main(*arguments)


@app.command()
def up(
    servers: Annotated[bool, typer.Option("--servers", help="Only the servers, seeded.")] = False,
) -> None:
    """Start the whole stack in the foreground; Ctrl-C stops it."""
    from cli.up import up as run

    with one_sentence():
        run(settings(), servers_only=servers)


@app.command()
def stop() -> None:
    """Stop the stack of this data directory."""
    from cli.up import stop as run

    with one_sentence():
        run(settings())


@app.command()
def status() -> None:
    """Which processes are healthy, and since when."""
    _run("cli.status")


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from storage.migrate import migrate as run

    with one_sentence():
        run(settings().postgres_owner_dsn)


@app.command()
def seed(
    demo_accounts: Annotated[
        bool,
        typer.Option(
            "--demo-accounts", help="Also accounts whose password everybody knows: to try it out only."
        ),
    ] = False,
) -> None:
    """Fill in the instrument master and, in the embedded default, the demo accounts."""
    from cli.up import seed_now

    with one_sentence():
        seed_now(settings(), demo_accounts=demo_accounts)


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
def events() -> None:
    """Every event of the record and every kind of alert, as docs/events.md has them."""
    _run("cli.events")


@app.command()
def asyncapi() -> None:
    """The stream as an AsyncAPI document, as docs/asyncapi.yaml has it."""
    _run("cli.asyncapi")


@app.command()
def fix(order_id: str) -> None:
    """What was said to the exchange about an order, and what it answered."""
    _run("cli.fix", order_id)


@app.command()
def ban_list(file: str) -> None:
    """Take over the exchange's list of securities whose derivatives may only be reduced (fo_secban)."""
    _run("cli.ban_list", file)


@app.command()
def reconcile(
    day: Annotated[str | None, typer.Option(help="Trade date, 2026-12-01; today unless given.")] = None,
) -> None:
    """Hold a day's trades against the exchanges' own files."""
    _run("cli.reconcile", day)


@app.command()
def demo() -> None:
    """Orders of each kind on a running stack, each step printed."""
    _run("cli.demo")


@app.command()
def day(
    phase_seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Length of each stretch between two moments of the day.")
    ] = 10,
) -> None:
    """A whole trading day on a running stack, compressed into minutes."""
    _run("cli.day", phase_seconds)


@app.command()
def bench(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to run; all unless named.")] = None,
) -> None:
    """Figures against peers, as ratios."""
    try:
        importlib.import_module("benchmarks.main")
    except ModuleNotFoundError as missing:
        leave(
            f"the benchmarks need the development tools and {missing.name} is not installed: run `make bench`"
        )
    _run("benchmarks.main", suites or [])


if __name__ == "__main__":
    app()
