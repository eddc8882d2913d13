"""The `hundi` command as a person runs it: a process of its own, with what it said and how it ended."""

import os
import subprocess
import sys
from functools import cache
from importlib.metadata import Distribution, distribution, packages_distributions

from packaging.requirements import Requirement

from config.settings import Settings

HIDING = "import os, runpy, sys; sys.modules.update(dict.fromkeys(os.environ['HIDDEN_MODULES'].split())); "
"""What stands before a program that must do without the development tools: their import fails."""


def hundi(
    settings: Settings, *arguments: str, columns: int = 80, timeout: float = 60, run_environment: bool = False
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli.main", *arguments]
    environment = environment_of(settings, columns)
    if run_environment:
        line = (
            f"{HIDING}sys.argv[1:] = {list(arguments)!r}; runpy.run_module('cli.main', run_name='__main__')"
        )
        command, environment["HIDDEN_MODULES"] = [sys.executable, "-c", line], " ".join(development_modules())
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=timeout, check=False
    )


def environment_of(settings: Settings, columns: int = 80) -> dict[str, str]:
    return os.environ | {
        "HUNDI_DATA_DIR": str(settings.data_dir),
        "HUNDI_PORT_OFFSET": str(settings.port_offset),
        "COLUMNS": str(columns),
    }


def the_sentence(ended: "subprocess.CompletedProcess[str]") -> str:
    """The one sentence on stderr of a command that could not do what it was asked for."""
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("hundi: "), ended.stderr
    return lines[0].removeprefix("hundi: ")


@cache
def development_modules() -> list[str]:
    """Top-level modules that `make run` does not install, from what the installed packages say they need."""
    needed = _needed()
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not module.startswith("_") and all(_name(owner) not in needed for owner in owners)
    )


def _needed() -> set[str]:
    """Names of the distributions that Hundi itself needs, and they in turn."""
    found: set[str] = set()
    waiting: list[tuple[Distribution, frozenset[str]]] = [(distribution("hundi"), frozenset())]
    while waiting:
        package, extras = waiting.pop()
        found.add(_name(package.name))
        for line in package.requires or ():
            wanted = Requirement(line)
            applies = wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            )
            if applies and (_name(wanted.name) not in found or wanted.extras):
                waiting.append((distribution(wanted.name), frozenset(wanted.extras)))
    return found


def _name(distribution_name: str) -> str:
    return distribution_name.lower().replace("_", "-").replace(".", "-")
