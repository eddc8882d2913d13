"""What others on the machine may see of a running stack, and what its processes may do."""

import os
import stat
import sys
from dataclasses import astuple
from pathlib import Path

from config.settings import Settings
from stack.ordinary_user import UID
from tests.support.sockets import is_loopback, listened_at

DAC_READ_SEARCH = 1 << 2
"""The one capability that is kept where a directory above a program is closed to ordinary users."""


def open_to_others(directory: Path) -> list[str]:
    """Files and folders that their group or others may read, write or enter."""
    found = [directory, *directory.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.lstat().st_mode & 0o077]


def faults(settings: Settings, pids: dict[str, int]) -> list[str]:
    """What processes show, or may do, that they should not."""
    return [f"{name}: {fault}" for name, pid in pids.items() for fault in _faults(settings, pid)]


def spoken(settings: Settings, *said: str) -> list[str]:
    """Where a secret stands in the logs, or in what was said to people."""
    logs = {file.name: file.read_text(errors="replace") for file in _logs(settings)}
    texts = logs | {f"said {number}": text for number, text in enumerate(said)}
    return [
        name for name, text in texts.items() if any(secret in text for secret in astuple(settings.secrets))
    ]


def _logs(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir / "logs").rglob("*") if path.is_file()]


def _faults(settings: Settings, pid: int) -> list[str]:
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    shown = (process / "cmdline").read_text() + (process / "environ").read_text()
    found = [f"listens at {address}" for address in listened_at(pid) if not is_loopback(address)]
    if any(secret in shown for secret in astuple(settings.secrets)):
        found.append("shows a secret")
    if os.geteuid() == 0 and status["Uid"].split() != [str(UID)] * 4:
        found.append(f"runs as {status['Uid']}")
    if int(status["CapEff"], 16) & ~_needed(process):
        found.append(f"has capabilities {status['CapEff']}")
    return found


def _needed(process: Path) -> int:
    """Capabilities that the place of the program makes necessary: none, when everybody may go there."""
    places = (process / "exe").resolve(), Path(sys.prefix) / "lib"
    closed = any(not parent.stat().st_mode & stat.S_IXOTH for place in places for parent in place.parents)
    return DAC_READ_SEARCH if closed and os.geteuid() == 0 else 0
