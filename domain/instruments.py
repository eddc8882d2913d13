"""An instrument as the exchange's master describes it: the numbers a rule may use, never literals."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Segment(StrEnum):
    CASH = "CASH"
    FO = "FO"


class InstrumentKind(StrEnum):
    EQUITY = "EQUITY"
    ETF = "ETF"
    FUTURE = "FUTURE"
    OPTION = "OPTION"
    INDEX = "INDEX"
    """Quoted, never traded."""

    @property
    def is_derivative(self) -> bool:
        return self in (InstrumentKind.FUTURE, InstrumentKind.OPTION)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the master. Prices in paise; quantities in shares or units (a lot's multiple)."""

    instrument_id: str
    """`EXCHANGE:SYMBOL`, for instance NSE:RELIANCE."""
    exchange: str
    symbol: str
    token: int
    """The exchange's numeric token, the key of the tick feed."""
    segment: Segment
    kind: InstrumentKind
    name: str
    isin: str | None
    tick_size: int
    lot_size: int
    freeze_quantity: int
    """The largest quantity of one order."""
    previous_close: int
    lower_band: int
    upper_band: int
    dynamic_band: bool
    """True for shares with derivatives: the band flexes in the day (market-wide rule, NSE)."""
    tradable: bool
    underlying: str | None = None
    expiry: date | None = None
    strike: int | None = None
    option_type: str | None = None
    """CE or PE."""
