"""`hundi replay`: real order flow or a real tick day through the running exchange, or checked in process.

Recorded time is kept at `--speed`; recorded prices are moved into today's bands (flow by ticks, prices in
proportion). The words of the command line are here, what they do is in cli/recordings.py.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.sentences import one_sentence

app = typer.Typer(no_args_is_help=True, help="Real market history, replayed.")
Speed = Annotated[float, typer.Option(min=0.1, help="Times faster than recorded.")]


@app.command()
def orderflow(
    file: Annotated[Path, typer.Argument(help="LOBSTER messages, gzipped.")],
    instrument: Annotated[str, typer.Option(help="Where the flow goes, such as NSE:TCS.")] = "NSE:TCS",
    speed: Speed = 10.0,
) -> None:
    """Feed recorded order flow into an instrument's book; resting orders of clients trade with it."""
    from cli.recordings import play_flow

    with one_sentence():
        play_flow(file, instrument, speed)


@app.command()
def ticks(
    file: Annotated[Path, typer.Argument(help="timestamp_ist,symbol,ltp,cum_volume, gzipped.")],
    speed: Speed = 60.0,
    exchange: Annotated[str, typer.Option(help="Whose feed it is published on.")] = "NSE",
) -> None:
    """Publish a recorded tick day on the feed; quotes follow one tick around each price."""
    from cli.recordings import play_ticks

    with one_sentence():
        play_ticks(file, exchange, speed)


@app.command()
def verify(
    directory: Annotated[Path | None, typer.Argument(help="Folder of the LOBSTER files.")] = None,
) -> None:
    """Replay the recorded hour in process: every event accounted for, every recorded book compared."""
    from cli.recordings import verified

    with one_sentence():
        raise typer.Exit(0 if verified(directory) else 1)
