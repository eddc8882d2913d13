"""Ticks as clients read them: rows of the bus into JSON members, changed ones only.

Prices are JSON numbers with exactly two decimals, times RFC 3339 with nine. A mode has the columns of the
smaller one and its own, so a change is written once for all modes. Used by realtime/stream/tick_fanout.py.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any

from bus.ticks import Ticks
from domain.money import rupees
from domain.time import NANOS, rfc3339


class Mode(StrEnum):
    """The members that a client gets of an instrument; each mode has those of the one before, too."""

    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"


Column = tuple[str, Callable[[Ticks], Any], Callable[[Any], str]]
Texts = list[list[str]]
"""The members of each row, such as `"ltp":2451.30`."""


def _price(paise: int) -> str:
    return rupees(paise) if paise else "null"


def _flag(value: int) -> str:
    return "true" if value else "false"


def _levels(levels: list[tuple[int, int]]) -> str:
    shown = ",".join(f"[{rupees(price)},{quantity}]" for price, quantity in levels if quantity)
    return f"[{shown}]"


def _field(name: str, write: Callable[[Any], str], shown: str | None = None) -> Column:
    return shown or name, lambda rows: rows[name], write


def _best(side: str, part: str, write: Callable[[Any], str], shown: str) -> Column:
    return shown, lambda rows: rows[side][part][:, 0], write


COLUMNS: dict[Mode, tuple[Column, ...]] = {
    Mode.LTP: (_field("ltp", _price), _field("previous_close", _price), _field("stale", _flag)),
    Mode.QUOTE: (
        _best("bids", "price", _price, "bid"),
        _best("bids", "quantity", str, "bid_quantity"),
        _best("asks", "price", _price, "ask"),
        _best("asks", "quantity", str, "ask_quantity"),
        _field("volume", str),
        _field("last_quantity", str),
        _field("open", _price),
        _field("high", _price),
        _field("low", _price),
    ),
    Mode.FULL: (_field("trades", str), _field("bids", _levels), _field("asks", _levels)),
}


def changes(before: Ticks, rows: Ticks) -> Iterator[tuple[Mode, Texts]]:
    """Yield each mode with the changed members of each row up to it; all of them after an empty row.

    The lists are the same ones and grow: use them before the next mode.
    """
    texts: Texts = [[] for _ in range(len(rows))]
    is_new = before["token"] == 0
    for mode, columns in COLUMNS.items():
        for name, values_of, write in columns:
            values = values_of(rows)
            differs = values != values_of(before)
            changed = ((differs.any(axis=1) if differs.ndim > 1 else differs) | is_new).nonzero()[0]
            for index, value in zip(changed.tolist(), values[changed].tolist(), strict=True):
                texts[index].append(f'"{name}":{write(value)}')
        yield mode, texts


def element(instrument_id: str, members: list[str], time_ns: int) -> bytes:
    """One instrument's object in a `snapshot` or `ticks` list."""
    seconds, nanos = divmod(time_ns, NANOS)
    shown = ",".join(members)
    return f'{{"instrument":"{instrument_id}",{shown},"timestamp":"{_second(seconds)}{nanos:09d}Z"}}'.encode()


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """The time up to and including the point, cached: many ticks have the same second."""
    return rfc3339(seconds * NANOS).removesuffix(f"{0:09d}Z")
