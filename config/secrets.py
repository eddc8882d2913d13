"""Secrets: what makes one good enough, and those that the embedded market makes for itself.

A data directory has its own, made once by whoever needs them first, in a file that its owner alone can read;
every process of the directory finds them there, so that none stands on a command line or in a log.
Invariant: the file is complete or not there, and a secret that was made is never made anew.
"""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

FILE = "secrets.json"
BYTES_MIN = 32
_LETTERS_MIN = 8
_KNOWN_TO_ALL = ("embedded-default", "not-for-production", "change-me", "changeme", "example")


@dataclass(frozen=True, slots=True)
class EmbeddedSecrets:
    """Of one data directory."""

    jwt_key: str
    postgres_superuser: str
    """Of the role that makes roles when the servers start, and does nothing else."""
    postgres_owner: str
    postgres_application: str
    redis_application: str
    redis_admin: str
    fix: str
    """Shared by the gateway and the simulated exchanges: a logon proves that it knows it."""


def weakness(secret: str) -> str | None:
    """Why this is no secret, as the end of a sentence that begins with its name; None when it is one."""
    if len(secret.encode()) < BYTES_MIN:
        return f"must have at least {BYTES_MIN} bytes"
    if len(set(secret)) < _LETTERS_MIN:
        return "repeats the same few letters"
    if any(known in secret.lower() for known in _KNOWN_TO_ALL):
        return "is a default or an example that everybody can read"
    return None


@lru_cache(maxsize=64)
def embedded_secrets(directory: Path) -> EmbeddedSecrets:
    """The secrets of a data directory, made now where some are missing.

    Raises SystemExit with one sentence: the file is open to others, is damaged or cannot be made.
    """
    file = directory / FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = _read(file)
        if _missing(found):
            with _one_at_a_time(directory):
                found = _read(file)
                found |= {name: secrets.token_urlsafe(BYTES_MIN) for name in _missing(found)}
                _write(file, found)
    except OSError as error:
        raise SystemExit(f"hundi: {file} cannot be used ({error.strerror})") from None
    return EmbeddedSecrets(**{field.name: found[field.name] for field in fields(EmbeddedSecrets)})


def _missing(found: dict[str, str]) -> list[str]:
    return [field.name for field in fields(EmbeddedSecrets) if field.name not in found]


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise SystemExit(f"hundi: {file} is open to others: `chmod 600` it, or have new secrets made")
            found: dict[str, str] = json.load(opened)
            return found
    except FileNotFoundError:
        return {}
    except ValueError:
        raise SystemExit(f"hundi: {file} is damaged: move it away and new secrets are made") from None


def _write(file: Path, values: dict[str, str]) -> None:
    """Beside its place and moved into it, so that a kill leaves nothing half written; its owner's alone."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f"{FILE}.")
    with os.fdopen(descriptor, "w") as opened:
        json.dump(values, opened, indent=2)
        opened.flush()
        os.fsync(opened.fileno())
        if os.geteuid() == 0:
            directory = file.parent.stat()
            os.fchown(opened.fileno(), directory.st_uid, directory.st_gid)
    Path(name).rename(file)


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
