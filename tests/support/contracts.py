"""The contracts that are listed today, asked for by role: no test names a month, for months pass.

The front contracts are those of the nearest monthly expiry. Symbols; an instrument's id has `NSE:` before it.
"""

from datetime import date

from domain.instruments import Instrument, InstrumentKind
from exchange.files.master import read_master


def futures_of(underlying: str, day: date | None = None) -> list[Instrument]:
    """Of RELIANCE, or an index by its own name ("NIFTY 50"), nearest first."""
    rows = [row for row in read_master("NSE", day).values() if row.kind is InstrumentKind.FUTURE]
    return sorted(
        (row for row in rows if row.underlying == f"NSE:{underlying}"), key=lambda row: str(row.expiry)
    )


def front_future(underlying: str, day: date | None = None) -> str:
    return futures_of(underlying, day)[0].symbol


def front_option(underlying: str, strike: int, option_type: str, day: date | None = None) -> str:
    """With the expiry of the front future; `strike` in rupees, CE or PE."""
    expiry = futures_of(underlying, day)[0].expiry
    [found] = [
        row.symbol
        for row in read_master("NSE", day).values()
        if (row.underlying, row.expiry) == (f"NSE:{underlying}", expiry)
        and (row.strike, row.option_type) == (strike * 100, option_type)
    ]
    return found
