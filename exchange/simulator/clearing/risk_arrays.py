"""The clearing corporation's part of the simulated exchange: the day's SPAN parameters of its contracts.

Futures move with their underlying; options are revalued by the model, a day older, in each of the 16
scenarios. Scan rates by kind of underlying are dated (span_scan.csv), prices are the master's settlement
prices. A long option never loses more than its price. Ranges, look-ahead and delta weights follow NSE
Clearing's files, whose extreme scenarios are 2 scan ranges at 35%. Called by span_publisher.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

from config.rules import rows_in_force
from domain.instruments import Instrument, InstrumentKind
from domain.money import round_half_up, scaled
from domain.span import (
    MILLION,
    PRICES_A_PAISA,
    CombinedCommodity,
    ContractKey,
    ContractKind,
    RiskContract,
    ScanPoint,
    ShortOptionMethod,
    Spread,
    SpreadLeg,
    contract_key,
)
from exchange.simulator.clearing.option_model import European

SCAN_RATES = Path(__file__).parent / "span_scan.csv"
THIRD, TWO_THIRDS = 333_333, 666_667
SCAN_POINTS = (
    *(
        ScanPoint(price_move, volatility_move, MILLION, paired)
        for pair, price_move in enumerate((0, THIRD, -THIRD, TWO_THIRDS, -TWO_THIRDS, MILLION, -MILLION))
        for volatility_move, paired in ((MILLION, 2 * pair + 2), (-MILLION, 2 * pair + 1))
    ),
    ScanPoint(2 * MILLION, 0, 350_000, paired=15),
    ScanPoint(-2 * MILLION, 0, 350_000, paired=16),
)
DELTA_WEIGHTS = {
    -MILLION: 37_000,
    -TWO_THIRDS: 111_000,
    -THIRD: 217_000,
    0: 270_000,
    THIRD: 217_000,
    TWO_THIRDS: 111_000,
    MILLION: 37_000,
}
"""The composite delta is the delta after each price move, averaged by these."""
DAYS_A_YEAR = 365
LOOK_AHEAD_YEARS = 1 / DAYS_A_YEAR
_PAISE_DECIMALS, _DELTA_DECIMALS = 2, 4
_FAMILY = {ContractKind.PHYSICAL: 0, ContractKind.FUTURE: 1, ContractKind.CALL: 2, ContractKind.PUT: 2}
_FAMILIES = 3


@dataclass(frozen=True, slots=True)
class ScanRates:
    """Of one kind of underlying, in millionths: of its price, or of one for volatility and interest."""

    price_scan: int
    volatility_scan: int
    spread_charge: int
    short_option_minimum: int
    interest: int


def scan_rates(day: date, path: Path = SCAN_RATES) -> dict[str, ScanRates]:
    """By INDEX and SHARE. Raises LookupError when nothing is in force."""
    names = ("price_scan", "volatility_scan", "spread_charge", "short_option_minimum", "interest")
    return {
        row["kind"]: ScanRates(*(scaled(row[f"{name}_percent"], 4) for name in names))
        for row in rows_in_force(path, day)
    }


@dataclass(frozen=True, slots=True)
class Underlying:
    """One combined commodity of the day: its price in paise, its rates, its contracts' settlement prices."""

    product: str
    number: int
    """From 0; gives the product families their ids."""
    price: int
    rates: ScanRates
    settlements: Mapping[ContractKey, int]
    day: date

    def contracts(self) -> list[RiskContract]:
        """The underlying itself, then its futures and options."""
        physical = ContractKey(self.product, ContractKind.PHYSICAL)
        return [
            self._contract(physical, self.price, self._linear(), MILLION),
            *(self._derivative(key, price) for key, price in self.settlements.items()),
        ]

    def commodity(self) -> CombinedCommodity:
        periods = sorted({_period(key) for key in self.settlements})
        charge = self._of_price(self.rates.spread_charge)
        return CombinedCommodity(
            code=self.product,
            group="ALL",
            portfolios=tuple(self._family(kind) for kind in list(_FAMILY)[:_FAMILIES]),
            spreads=tuple(
                Spread(priority, charge, _legs(self.product, near, far))
                for priority, (near, far) in enumerate(combinations(periods, 2), start=1)
            ),
            short_option_minimum=self._of_price(self.rates.short_option_minimum),
            short_option_method=ShortOptionMethod.GROSS,
        )

    def _derivative(self, key: ContractKey, price: int) -> RiskContract:
        if not key.kind.is_option:
            return self._contract(key, price, self._linear(), MILLION)
        option = self._option(key).implied(price / 100)
        return self._contract(key, price, self._revalued(option, price), self._composite_delta(option))

    def _option(self, key: ContractKey) -> European:
        """The option before its volatility is known; it stands on the future of its expiry."""
        days = (key.expiry - self.day).days if key.expiry else 0
        forward = self.settlements.get(ContractKey(key.product, ContractKind.FUTURE, key.expiry), self.price)
        return European(
            is_call=key.kind is ContractKind.CALL,
            forward=forward / 100,
            strike=(key.strike or 0) / PRICES_A_PAISA / 100,
            years=max(1, days) / DAYS_A_YEAR,
            volatility=1.0,
            interest=self.rates.interest / MILLION,
        )

    def _linear(self) -> tuple[int, ...]:
        scan = self._of_price(self.rates.price_scan)
        return tuple(-round_half_up(scan * p.price_move * p.weight, MILLION**2) for p in SCAN_POINTS)

    def _revalued(self, option: European, price: int) -> tuple[int, ...]:
        """What the option loses in each scenario by the model, at most its price."""
        before = option.value()
        after = (self._moved(option, p.price_move, p.volatility_move, LOOK_AHEAD_YEARS) for p in SCAN_POINTS)
        losses = (
            (before - moved.value()) * point.weight / MILLION
            for moved, point in zip(after, SCAN_POINTS, strict=True)
        )
        return tuple(min(price, round(loss * 10**_PAISE_DECIMALS)) for loss in losses)

    def _composite_delta(self, option: European) -> int:
        delta = sum(weight * self._moved(option, move).delta() for move, weight in DELTA_WEIGHTS.items())
        return scaled(f"{delta / MILLION:.{_DELTA_DECIMALS}f}", 6)

    def _moved(
        self, option: European, price_move: int, volatility_move: int = 0, years: float = 0.0
    ) -> European:
        return option.moved(
            price=self._of_price(self.rates.price_scan) / 100 * price_move / MILLION,
            volatility=self.rates.volatility_scan / MILLION * volatility_move / MILLION,
            years=years,
        )

    def _contract(self, key: ContractKey, price: int, losses: tuple[int, ...], delta: int) -> RiskContract:
        return RiskContract(
            key=key,
            portfolio=self._family(key.kind),
            period=_period(key),
            multiplier=1,
            price=price * PRICES_A_PAISA,
            price_scan=self._of_price(self.rates.price_scan),
            volatility_scan=self.rates.volatility_scan,
            delta_scaling=MILLION,
            losses=losses,
            composite_delta=delta,
        )

    def _family(self, kind: ContractKind) -> int:
        return 1 + self.number * _FAMILIES + _FAMILY[kind]

    def _of_price(self, rate: int) -> int:
        return round_half_up(self.price * rate, MILLION)


def underlyings(instruments: Mapping[str, Instrument], day: date) -> list[Underlying]:
    """The combined commodities of the contracts that have not expired. Raises LookupError or KeyError."""
    rates = scan_rates(day)
    settlements: dict[str, dict[ContractKey, int]] = {}
    symbols: dict[str, str] = {}
    for instrument in instruments.values():
        key = contract_key(instrument)
        if key is not None and key.expiry is not None and key.expiry >= day:
            settlements.setdefault(key.product, {})[key] = instrument.previous_close
            symbols[key.product] = (instrument.underlying or "").partition(":")[2]
    return [
        Underlying(product, number, spot.previous_close, rates[_kind(spot)], settlements[product], day)
        for number, product in enumerate(sorted(settlements))
        for spot in (instruments[symbols[product]],)
    ]


def _kind(underlying: Instrument) -> str:
    return "INDEX" if underlying.kind is InstrumentKind.INDEX else "SHARE"


def _period(key: ContractKey) -> str:
    return f"{key.expiry:%Y%m%d}" if key.expiry else "00000000"


def _legs(product: str, near: str, far: str) -> tuple[SpreadLeg, ...]:
    return SpreadLeg(product, near, "A", MILLION), SpreadLeg(product, far, "B", MILLION)
