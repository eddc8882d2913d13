"""Started by root, nothing of the stack stays root: every command runs as the unprivileged user `nobody`.

It keeps no capability. Only where a directory on the way to a program is closed to that user (a clone in
/root, say) it keeps the one that reads past it, CAP_DAC_READ_SEARCH, which writes nothing. The data directory
is that user's. Called by whoever prepares or starts the stack; without root, commands are returned unchanged.
"""

import compileall
import os
import shutil
import stat
from pathlib import Path

from stack.errors import StackError

UID = GID = 65534


def as_ordinary_user(command: list[str], needed: list[Path], stop_signal: str = "TERM") -> list[str]:
    """The command for a process that must not be root and needs to reach these paths.

    It gets `stop_signal` when its parent dies. Raises StackError when this system has no `setpriv`
    (util-linux) to give up root with.
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
    dropped += [f"--pdeathsig={stop_signal}"]
    kept = "" if all(_is_open_to_all(path) for path in needed) else ",+dac_read_search"
    dropped += ["--no-new-privs", f"--inh-caps=-all{kept}", f"--ambient-caps=-all{kept}"]
    return [*dropped, *command]


def give(path: Path) -> None:
    """Make it the ordinary user's; a no-op unless this process is root."""
    if os.geteuid() == 0:
        os.chown(path, UID, GID, follow_symlinks=False)


def make_private(directory: Path) -> None:
    """The directory and all in it are the ordinary user's and open to nobody else, whatever made them."""
    for place, folders, files in os.walk(directory):
        for path in [Path(place), *(Path(place, file) for file in files)]:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                continue
            if found.st_mode & 0o077:
                path.chmod(stat.S_IMODE(found.st_mode) & ~0o077)
            if os.geteuid() == 0 and found.st_uid != UID:
                give(path)
        # PostgreSQL's own is so already and large; tools are programs that anybody may run.
        folders[:] = [folder for folder in folders if folder not in {"postgres", "tools"}]


def compile_ours() -> None:
    """As root: the ordinary user may not write beside the sources, and would compile them at each start."""
    if os.geteuid() == 0:
        for layer in Path(__file__).parent.parent.glob("*/__init__.py"):
            compileall.compile_dir(layer.parent, quiet=2)


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
