"""Price bands that flex in the day: shares with derivatives, and futures (market-rules section 4).

A band that has moved is of its day alone; every other is the master's. What a move leaves outside is
cancelled by floor.py, which alone calls this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from config.rules import band_rules
from domain.instruments import Instrument, InstrumentKind
from domain.orders import Side
from domain.price_bands import PriceBand, fixed_band, flexed
from domain.reports import BandSet
from domain.time import trade_date


@dataclass(frozen=True, slots=True)
class Flex:
    """A band has moved towards a side; BUY: upwards."""

    symbol: str
    side: Side
    at_ns: int


class Bands:
    def __init__(self, exchange: str, instruments: Mapping[str, Instrument]) -> None:
        self._exchange, self._instruments = exchange, instruments
        self._day: date | None = None
        self._moved: dict[str, PriceBand] = {}
        self.told: dict[str, BandSet] = {}
        """By symbol, of those that have moved today."""

    def flexes(self, symbol: str) -> bool:
        row = self._instruments.get(symbol)
        return row is not None and (row.dynamic_band or row.kind is InstrumentKind.FUTURE)

    def flex(self, move: Flex) -> BandSet:
        """Of a symbol whose band flexes."""
        self.turn_to(trade_date(move.at_ns))
        row, rules = self._instruments[move.symbol], band_rules(trade_date(move.at_ns))
        band = self._moved.get(move.symbol, fixed_band(row.previous_close, rules.width))
        self._moved[move.symbol] = band = flexed(band, move.side, rules)
        limits = band.limits(row.tick_size)
        told = BandSet(self._exchange, move.symbol, limits.low, limits.high, move.at_ns)
        self.told[move.symbol] = told
        return told

    def turn_to(self, day: date) -> bool:
        """Another day begins with the bands of its master; whether one has begun."""
        if day == self._day:
            return False
        self._day = day
        self._moved.clear()
        self.told.clear()
        return True
