"""The instrument master as the exchange reads it: one exchange's instruments of a day, by symbol.

The same file seeds the books, so both ends of the wire agree on ticks, lots, bands and contracts. Read once
at start: a process that needs another day's begins anew (config/instrument_master.py says when it
does).
"""

import time
from datetime import date

from config.instrument_master import instruments_of
from domain.instruments import Instrument
from domain.time import trade_date


def read_master(exchange: str, day: date | None = None) -> dict[str, Instrument]:
    """Of today, unless a day is named. Raises OSError or ValueError when the file is not usable."""
    day = day or trade_date(time.time_ns())
    return {row.symbol: row for row in instruments_of(day) if row.exchange == exchange}
