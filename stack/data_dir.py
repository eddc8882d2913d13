"""The data directory: writable, of this version, and owned by one `hundi up` at a time.

Invariant: whoever holds the lock on `up.lock` owns every process that works in the directory. The lock
dies with its holder, so it is never stale. Called by `hundi up`, `hundi stop` and the test fixtures.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.errors import StackError

DATA_VERSION = "2"
"""Raised when a new Hundi can no longer read what an older one wrote here."""
POSTGRES_MAJOR = "18"


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """The directory, absolute, checked and locked for this process.

    Raises StackError: not writable, of another version, or already in use (names the pid).
    """
    directory = _writable(path)
    os.umask(0o077)
    descriptor = os.open(directory / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(
                f"hundi is already running on {directory} (pid {owner(directory)}): stop it with "
                "`hundi stop`, or set HUNDI_DATA_DIR and HUNDI_PORT_OFFSET to run another one beside it"
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        _check_versions(directory)
        yield directory
        os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def owner(directory: Path) -> int | None:
    """The pid of the `hundi up` that holds the directory, None when nobody does."""
    lock = directory / "up.lock"
    if not lock.exists():
        return None
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return int(file.read() or 0) or None
    return None


def _writable(path: Path) -> Path:
    directory = path.expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise StackError(
            f"the data directory {directory} cannot be made ({error.strerror}): set HUNDI_DATA_DIR"
        ) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StackError(f"the data directory {directory} is not writable: set HUNDI_DATA_DIR")
    return directory


def _check_versions(directory: Path) -> None:
    version = directory / "VERSION"
    if not version.exists():
        version.write_text(f"{DATA_VERSION}\n")
    _check(version, DATA_VERSION, "Hundi's data")
    cluster = directory / "postgres" / "PG_VERSION"
    if cluster.exists():
        _check(cluster, POSTGRES_MAJOR, "PostgreSQL's data")


def _check(file: Path, expected: str, what: str) -> None:
    found = file.read_text().strip()
    if found != expected:
        raise StackError(
            f"{file.parent} holds {what} of version {found or 'unknown'}, this Hundi reads version "
            f"{expected}: move the directory away, or set HUNDI_DATA_DIR"
        )
