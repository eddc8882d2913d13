"""The instrument master of a day: shares and indices as the file has them, derivatives rolled to the day.

`instrument_master.csv` keeps a derivative as a model, without an expiry; which contracts there are follows
from the day (domain/series.py), so the wire, the books and the feed agree without asking each other.
Called by the seed, the day roll, and exchange/files/master.py for whoever has no database.
"""

import csv
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from config.rules import listing_rules
from config.sessions import session_rules
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.series import ListingRule, contracts

MASTER = Path(__file__).parent / "instrument_master.csv"
_TEXT = ("instrument_id", "exchange", "symbol", "name")
_NUMBERS = (
    "token",
    "tick_size",
    "lot_size",
    "freeze_quantity",
    "previous_close",
    "lower_band",
    "upper_band",
)
_FLAGS = ("dynamic_band", "tradable")


@lru_cache(maxsize=8)
def instruments_of(day: date) -> tuple[Instrument, ...]:
    """Every instrument that is listed on a day. Raises OSError or ValueError when the file is not usable."""
    rows = _rows()
    models = [row for row in rows if row.kind.is_derivative]
    spots = {row.instrument_id: row.previous_close for row in rows if not row.kind.is_derivative}
    listed = contracts(models, spots, _rules(day), day, session_rules().calendar)
    return (*(row for row in rows if not row.kind.is_derivative), *listed)


def _rules(day: date) -> tuple[ListingRule, ...]:
    """None before the first: shares trade on a day of which it is not known what is listed."""
    try:
        return listing_rules(day)
    except LookupError:
        return ()


def next_roll(day: date) -> date:
    """The first day whose contracts are others than this day's."""
    expiring = [row.expiry for row in instruments_of(day) if row.expiry is not None]
    return date.fromordinal(min(expiring, default=day).toordinal() + 1)


@lru_cache
def _rows() -> tuple[Instrument, ...]:
    with MASTER.open(newline="", encoding="utf-8") as rows:
        return tuple(_instrument(row) for row in csv.DictReader(rows))


def _instrument(row: dict[str, str]) -> Instrument:
    fields: dict[str, Any] = {name: row[name] for name in _TEXT}
    fields |= {name: int(row[name]) for name in _NUMBERS}
    fields |= {name: row[name].lower() in ("true", "t", "1") for name in _FLAGS}
    return Instrument(
        **fields,
        segment=Segment(row["segment"]),
        kind=InstrumentKind(row["kind"]),
        isin=row["isin"] or None,
        underlying=row["underlying"] or None,
        expiry=None,
        strike=int(row["strike"]) if row["strike"] else None,
        option_type=row["option_type"] or None,
    )
