"""How a line of `hundi` is read: `-h`, `--help` and `--version` are answered before anything is done.

That holds for every command; what was asked for wrongly is one sentence with exit code 2.
"""

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from cli.sentences import USAGE, leave

if TYPE_CHECKING:
    from typer._click import Context

SETTINGS = {"help_option_names": ["-h", "--help"]}
VERSION = "--version"


class Commands(TyperGroup):
    """The commands as a whole: the outermost group tells what is wrong with the line."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        if VERSION in args:
            typer.echo(f"hundi {version('hundi')}")
            ctx.exit()
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run a line and leave; whatever the program's file is called, the command is `hundi`."""
        try:
            code = super().main(*args, **more | {"prog_name": "hundi", "standalone_mode": False})
        except typer.TyperException as error:
            said = error.format_message()
            if not said.strip():  # Nothing was asked for: the help, which was shown, is the answer.
                sys.exit(USAGE)
            leave(f"{' '.join(said.split()).rstrip('.')} (see `hundi --help`)", USAGE)
        except typer.Abort:
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)
