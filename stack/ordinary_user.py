"""PostgreSQL refuses to run as root, so as root its commands run as the unprivileged user `nobody`.

Where a directory on the way to the binaries or the data is closed to that user (a clone in /root, say), the
command keeps the one capability that walks past it, CAP_DAC_OVERRIDE, and nothing else of root.
Called by `stack/servers.py` only; an ordinary user's commands are returned unchanged.
"""

import os
import shutil
import stat
from pathlib import Path

from stack.errors import StackError

UID = GID = 65534


def as_ordinary_user(command: list[str], needed: list[Path]) -> list[str]:
    """The command for a process that must not be root and needs to reach these paths.

    Raises StackError when this system has no `setpriv` (util-linux) to give up root with.
    """
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root and there is no `setpriv` (util-linux) here to drop to an "
            "ordinary user: run as an ordinary user"
        )
    dropped = [setpriv, f"--reuid={UID}", f"--regid={GID}", "--clear-groups"]
    # Giving up root clears the parent-death signal that supervision set: set it again, afterwards.
    dropped += ["--pdeathsig=INT"]
    if not all(_is_open_to_all(path) for path in needed):
        dropped += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return [*dropped, *command]


def give(directory: Path) -> None:
    """Make the directory the ordinary user's; a no-op unless this process is root."""
    if os.geteuid() == 0:
        os.chown(directory, UID, GID)


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
