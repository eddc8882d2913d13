"""The instrument master as the exchange reads it: one csv row an `Instrument`, its columns the fields.

The same file seeds the books, so both ends of the wire agree on ticks, lots and bands. Read once at start.
"""

import csv
from datetime import date
from pathlib import Path
from typing import Any

from domain.instruments import Instrument, InstrumentKind, Segment

MASTER = Path(__file__).parent.parent / "storage" / "instrument_master.csv"
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


def read_master(exchange: str, path: Path = MASTER) -> dict[str, Instrument]:
    """Instruments of one exchange by symbol. Raises OSError or ValueError when the file is not usable."""
    with path.open(newline="", encoding="utf-8") as rows:
        instruments = [_instrument(row) for row in csv.DictReader(rows) if row["exchange"] == exchange]
    return {instrument.symbol: instrument for instrument in instruments}


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
        expiry=date.fromisoformat(row["expiry"]) if row["expiry"] else None,
        strike=int(row["strike"]) if row["strike"] else None,
        option_type=row["option_type"] or None,
    )
