"""The exchange's daily list of securities banned for derivatives (NSE fo_secban), read exactly or refused.

A title that names the trade date, then a line a security, numbered from one. An empty list is a list.
Called by `hundi ban-list`.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime

_TITLE = re.compile(r"Securities in Ban For Trade Date (\d{2}-[A-Z]{3}-\d{4}):\s*", re.IGNORECASE)
_LINE = re.compile(r"(\d+),([A-Z0-9&\-]{1,25})\s*")


class BanListError(Exception):
    """One sentence that says which line is not understood."""


@dataclass(frozen=True, slots=True)
class BanList:
    trade_date: date
    symbols: tuple[str, ...]


def read_ban_list(text: str) -> BanList:
    """Raises BanListError."""
    lines = text.splitlines()
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if title is None:
        raise BanListError("line 1 does not name the trade date of a ban list")
    symbols = []
    for number, line in enumerate(lines[1:], start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) != number:
            raise BanListError(f"line {number + 1} is not security number {number}: {line[:40]!r}")
        symbols.append(match[2])
    try:
        day = datetime.strptime(title[1], "%d-%b-%Y").date()
    except ValueError:
        raise BanListError(f"{title[1]} is not a date") from None
    return BanList(day, tuple(symbols))
