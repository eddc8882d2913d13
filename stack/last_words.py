"""Why a process ended, in a few words: how the system says it went, and the last error in its own log.

A log also holds metrics, spans and news; none of them is a reason. Read by stack/supervision.py.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

TAIL_BYTES = 64 * 1024
"""What is read of a log: an error that is followed by more than this was not the last word."""
LENGTH = 300
_ERROR = re.compile(
    r"^hundi: |^\w[\w.]*(Error|Exception|Interrupt|Timeout)\b|\b(FATAL|PANIC|ERROR)\b|level=(ERROR|FATAL)\b",
    re.IGNORECASE,
)
_ENDED = re.compile(r"exited: (?P<name>\S+) \((?P<how>[^;)]+)")
_NEWS = re.compile(r"^\d+:[A-Z] .* [*.-] |\bLOG: |level=(INFO|WARN|DEBUG)\b")
"""Lines of Valkey, PostgreSQL and Temporal that tell of no error."""


def last_words(log: Path) -> str:
    """The last error of a log; where it has none, the last line that is no measurement."""
    lines = [line for line in _tail(log) if line.strip()]
    told = [said for line in lines if (said := _said(line))]
    return last_error(log) or (told[-1][:LENGTH] if told else "it said nothing")


def last_error(log: Path) -> str:
    """The last error of a log, empty when it has none."""
    errors = (said for line in reversed(_tail(log)) if (said := _error(line)))
    return next(errors, "")[:LENGTH]


def reason(log: Path, supervisor_log: Path, name: str) -> str:
    """Why the life before this one ended: how, and the last error."""
    how = how_it_ended(supervisor_log, name)
    # Whoever is killed from outside has no say in it; an older error is not the reason.
    error = "" if "SIGKILL" in how else last_error(log)
    return ": ".join(part for part in (how, error) if part) or "it gave no reason"


def how_it_ended(supervisor_log: Path, name: str) -> str:
    """What supervisord saw: `terminated by SIGKILL`, `exit status 1`; empty when it saw nothing."""
    endings = (_ENDED.search(line) for line in reversed(_tail(supervisor_log)))
    return next((str(found["how"]) for found in endings if found and found["name"] == name), "")


def _tail(log: Path) -> Sequence[str]:
    if not log.exists():
        return ()
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()


def _said(line: str) -> str:
    """The line as a person would say it, empty for a measurement or a frame of a traceback."""
    if (entry := _entry(line)) is None:
        return "" if line.startswith(" ") or _NEWS.search(line) else line.strip()
    return "" if entry.get("event") in ("metric", "span") else str(entry.get("event"))


def _error(line: str) -> str:
    if (entry := _entry(line)) is None:
        found = not line.startswith(" ") and not _NEWS.search(line) and _ERROR.search(line)
        return line.strip() if found else ""
    if entry.get("level") not in ("error", "critical"):
        return ""
    cause = str(entry.get("exception") or entry.get("error") or "").strip()
    return f"{entry.get('event')}: {cause.splitlines()[-1]}" if cause else str(entry.get("event"))


def _entry(line: str) -> dict[str, object] | None:
    """A line of our own structured log."""
    if not line.startswith("{"):
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return None
