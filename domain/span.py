"""What an exchange's risk parameter file says: the numbers of SPAN as exact integers.

Losses and charges are paise for one long contract of the file, prices 1/10,000 rupee, deltas and fractions
millionths. A contract of the file is `multiplier` units: one share or index unit in equity derivatives, so
that there a position's quantity counts contracts too. The reader is exchange/files/span_parser.py, the
calculation domain/portfolio_margin.py. Source: PC-SPAN 4.00 as NSE Clearing publishes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from domain.instruments import Instrument, InstrumentKind
from domain.money import unscaled

SCENARIOS = 16
PRICE_DECIMALS = 4
"""Currency pairs are quoted to 1/10,000 rupee; a paisa is 100 of these."""
FRACTION_DECIMALS = 6
MILLION = 10**FRACTION_DECIMALS


class ContractKind(StrEnum):
    """A contract's kind by the file's words (`pfType`, `o`)."""

    PHYSICAL = "PHY"
    """The underlying itself: its price, never a position here."""
    FUTURE = "FUT"
    CALL = "C"
    PUT = "P"

    @property
    def is_option(self) -> bool:
        return self in (ContractKind.CALL, ContractKind.PUT)


@dataclass(frozen=True, slots=True)
class ContractKey:
    """What names a contract in the file and in the master alike."""

    product: str
    """The derivative's own symbol: NIFTY, RELIANCE, USDINR."""
    kind: ContractKind
    expiry: date | None = None
    strike: int | None = None
    """In 1/10,000 rupee."""

    def __str__(self) -> str:
        strike = None if self.strike is None else unscaled(self.strike, PRICE_DECIMALS)
        parts = (self.product, self.kind, self.expiry, strike)
        return " ".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class ScanPoint:
    """One of the 16 scenarios. The arrays already carry `weight`: it is never applied again."""

    price_move: int
    """Of the price scan range."""
    volatility_move: int
    """Of the volatility scan range."""
    weight: int
    paired: int
    """The scenario (from 1) with the same price and the opposite volatility move."""


@dataclass(frozen=True, slots=True)
class RiskContract:
    """One contract's risk array and what belongs to it."""

    key: ContractKey
    portfolio: int
    """The product family (`pfId`) it stands in."""
    period: str
    """The file's own word for the expiry (`pe`); spreads are told by it."""
    multiplier: int
    price: int
    price_scan: int
    """Paise a contract: the price move of a full scenario."""
    volatility_scan: int
    delta_scaling: int
    losses: tuple[int, ...]
    """By scenario, of one long contract; negative is a gain."""
    composite_delta: int


@dataclass(frozen=True, slots=True)
class SpreadLeg:
    commodity: str
    period: str | None
    """None: any expiry (a leg of an inter-commodity spread)."""
    side: str
    """A or B: legs of unlike letters stand on opposite sides of the market."""
    deltas: int
    """Delta that one spread consumes on this leg."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Delta of opposite sides that the scan has netted. `rate` is a charge or a credit, by its place."""

    priority: int
    rate: int
    """Between expiries: paise a spread. Between commodities: the fraction of the price risk credited."""
    legs: tuple[SpreadLeg, ...]


class ShortOptionMethod(StrEnum):
    GROSS = "GROSS"
    """Calls and puts are added."""
    MAX = "MAX"
    """The larger of calls and puts."""


@dataclass(frozen=True, slots=True)
class CombinedCommodity:
    """What is margined together: an underlying with its futures and options."""

    code: str
    group: str
    portfolios: tuple[int, ...]
    spreads: tuple[Spread, ...]
    """Between expiries, in the order in which they are formed."""
    short_option_minimum: int
    """Paise for each short option contract."""
    short_option_method: ShortOptionMethod


@dataclass(frozen=True, slots=True)
class SpanParameters:
    """One business day's file of one clearing organisation."""

    clearing_organisation: str
    exchange: str
    business_date: date
    created: str
    scenarios: tuple[ScanPoint, ...]
    contracts: Mapping[ContractKey, RiskContract]
    commodities: Mapping[str, CombinedCommodity]
    commodity_of_portfolio: Mapping[int, str]
    inter_commodity_spreads: tuple[Spread, ...]

    def commodity(self, contract: RiskContract) -> CombinedCommodity:
        return self.commodities[self.commodity_of_portfolio[contract.portfolio]]


DERIVATIVE_SYMBOLS = {
    "NIFTY 50": "NIFTY",
    "NIFTY BANK": "BANKNIFTY",
    "NIFTY FIN SERVICE": "FINNIFTY",
    "NIFTY MID SELECT": "MIDCPNIFTY",
    "NIFTY NEXT 50": "NIFTYNXT50",
}
"""NSE names an index otherwise in its derivatives; a share is named alike in both segments."""
_OPTION_KINDS = {"CE": ContractKind.CALL, "PE": ContractKind.PUT}
PRICES_A_PAISA = 10 ** (PRICE_DECIMALS - 2)


def contract_key(instrument: Instrument) -> ContractKey | None:
    """The key under which the file knows a future or an option; None for anything else."""
    if instrument.underlying is None or instrument.expiry is None:
        return None
    _, _, symbol = instrument.underlying.partition(":")
    product = DERIVATIVE_SYMBOLS.get(symbol, symbol)
    if instrument.kind is InstrumentKind.FUTURE:
        return ContractKey(product, ContractKind.FUTURE, instrument.expiry)
    kind = _OPTION_KINDS.get(instrument.option_type or "")
    if kind is None or instrument.strike is None:
        return None
    return ContractKey(product, kind, instrument.expiry, instrument.strike * PRICES_A_PAISA)
