"""The market-wide circuit breaker: when the index moves too far, both exchanges stand still.

A stage fires once a day, either way from the previous close, by the first index that reaches it; a higher
stage may follow a lower one. The table is dated (config/market_halts.csv, SEBI; market-rules section 3).
Called by whoever watches the indices, with the time passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

from domain.time import IST, NANOS

_MINUTE_NS = 60 * NANOS
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class HaltRule:
    move_percent: int
    from_ist: time
    halt_minutes: int | None
    """None: the rest of the day; 0: trading goes on."""
    auction_minutes: int = 0
    """Of pre-open auction before continuous trading comes back."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Instants in nanoseconds; None when the market stays closed today."""

    move_percent: int
    begins_ns: int
    auction_ns: int | None
    reopens_ns: int | None


def market_halt(
    previous_close: int, index: int, now_ns: int, fired_percent: int, rules: Sequence[HaltRule]
) -> Halt | None:
    """The halt that this index value brings about now, None when trading goes on.

    `fired_percent` is the highest stage that has fired today, 0 for none.
    """
    now = datetime.fromtimestamp(now_ns // NANOS, IST).time()
    moved = abs(index - previous_close) * _PERCENT
    reached = max((r.move_percent for r in rules if moved >= r.move_percent * previous_close), default=0)
    if reached <= fired_percent:
        return None
    begun = [rule for rule in rules if rule.move_percent == reached and rule.from_ist <= now]
    rule = max(begun, key=lambda rule: rule.from_ist)
    if rule.halt_minutes is None:
        return Halt(reached, now_ns, None, None)
    if rule.halt_minutes == 0:
        return None
    auction_ns = now_ns + rule.halt_minutes * _MINUTE_NS
    return Halt(reached, now_ns, auction_ns, auction_ns + rule.auction_minutes * _MINUTE_NS)
