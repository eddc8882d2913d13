"""Reads an exchange's SPAN risk parameter file (PC-SPAN 4.00 XML, plain or gzipped) into domain/span.py.

Streams: each portfolio is read and forgotten as its element ends, so a file of 160,000 contracts costs only
its numbers. Every number is read exactly or the whole file is refused with one sentence: a margin from half
a file would be wrong in silence. Note that NSE's files declare scenarios 15 and 16 as 3 ranges at 30%, while
their arrays are made of 2 ranges at 35%; the arrays are what counts. Called at the start of a day.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import IO, cast
from xml.etree.ElementTree import Element, ParseError, iterparse

from domain.money import scaled
from domain.span import (
    FRACTION_DECIMALS,
    MILLION,
    PRICE_DECIMALS,
    SCENARIOS,
    CombinedCommodity,
    ContractKey,
    ContractKind,
    RiskContract,
    ScanPoint,
    ShortOptionMethod,
    SpanParameters,
    Spread,
    SpreadLeg,
)

FORMAT = "4.00"
PAISE_DECIMALS = 2


class SpanFileError(ValueError):
    """The file cannot be used; the message is one sentence that names file and fault."""


def read_span_file(path: Path) -> SpanParameters:
    """The parameters of one file. Raises SpanFileError unless it is whole and exact; OSError: not there."""
    try:
        with _opened(path) as file:
            return _Reading().read(file)
    except (ParseError, ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SpanFileError(f"{path.name} is not a usable SPAN file: {error}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


class _Reading:
    """One pass over a file; what is collected becomes SpanParameters at the end of the root."""

    def __init__(self) -> None:
        self._contracts: dict[ContractKey, RiskContract] = {}
        self._commodities: dict[str, CombinedCommodity] = {}
        self._commodity_of_portfolio: dict[int, str] = {}
        self._inter_commodity_spreads: tuple[Spread, ...] = ()
        self._on_end: dict[str, Callable[[Element], None]] = {
            "phyPf": self._physical,
            "futPf": self._futures,
            "oopPf": self._options,
            "ccDef": self._commodity,
            "interSpreads": self._inter_commodity,
        }

    def read(self, file: IO[bytes]) -> SpanParameters:
        for _, element in iterparse(file):
            if handle := self._on_end.get(element.tag):
                handle(element)
                element.clear()
        # The last element to end is the root.
        return self._parameters(element)

    def _parameters(self, root: Element) -> SpanParameters:
        if root.tag != "spanFile" or _text(root, "fileFormat") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        scenarios = tuple(_scan_point(point) for point in root.iter("scanPointDef"))
        if len(scenarios) != SCENARIOS:
            raise ValueError(f"it defines {len(scenarios)} scenarios, not {SCENARIOS}")
        if not all(1 <= point.paired <= SCENARIOS for point in scenarios):
            raise ValueError("a scenario is paired with none of its scenarios")
        if not self._contracts:
            raise ValueError("it has no contracts")
        if len(root.findall("pointInTime/clearingOrg/exchange")) != 1:
            raise ValueError("it is not of one exchange")
        for key, contract in self._contracts.items():
            if contract.portfolio not in self._commodity_of_portfolio:
                raise ValueError(f"{key.product} belongs to no combined commodity")
        return SpanParameters(
            clearing_organisation=_text(root, "pointInTime/clearingOrg/ec"),
            exchange=_text(root, "pointInTime/clearingOrg/exchange/exch"),
            business_date=date.fromisoformat(_text(root, "pointInTime/date")),
            created=_text(root, "created"),
            scenarios=scenarios,
            contracts=self._contracts,
            commodities=self._commodities,
            commodity_of_portfolio=self._commodity_of_portfolio,
            inter_commodity_spreads=self._inter_commodity_spreads,
        )

    def _physical(self, family: Element) -> None:
        product = _product(family)
        for element in family.iter("phy"):
            self._add(ContractKey(product, ContractKind.PHYSICAL), family, element, element)

    def _futures(self, family: Element) -> None:
        product = _product(family)
        for element in family.iter("fut"):
            self._add(ContractKey(product, ContractKind.FUTURE, _expiry(element)), family, element, element)

    def _options(self, family: Element) -> None:
        product = _product(family)
        for series in family.iter("series"):
            expiry = _expiry(series)
            for element in series.iter("opt"):
                kind, strike = ContractKind(_text(element, "o")), _number(element, "k", PRICE_DECIMALS)
                self._add(ContractKey(product, kind, expiry, strike), family, series, element)

    def _add(self, key: ContractKey, family: Element, series: Element, element: Element) -> None:
        if key in self._contracts:
            raise ValueError(f"{key.product} {key.kind} {key.expiry} {key.strike} stands in it twice")
        losses = tuple(scaled(loss.text or "", PAISE_DECIMALS) for loss in element.iterfind("ra/a"))
        if len(losses) != SCENARIOS:
            raise ValueError(f"a risk array of {key.product} has {len(losses)} scenarios, not {SCENARIOS}")
        self._contracts[key] = RiskContract(
            key=key,
            portfolio=_number(family, "pfId"),
            period=_text(series, "pe"),
            multiplier=_positive(series, "cvf"),
            price=_amount(element, "p", PRICE_DECIMALS),
            price_scan=_amount(series, "scanRate/priceScan", PAISE_DECIMALS),
            volatility_scan=_number(series, "scanRate/volScan", FRACTION_DECIMALS),
            delta_scaling=_number(series, "sc", FRACTION_DECIMALS),
            losses=losses,
            composite_delta=_number(element, "ra/d", FRACTION_DECIMALS),
        )

    def _commodity(self, element: Element) -> None:
        code = _text(element, "cc")
        if code in self._commodities:
            raise ValueError(f"the combined commodity {code} stands in it twice")
        portfolios = tuple(_number(link, "pfId") for link in element.iterfind("pfLink"))
        minima = [_amount(rate, "val", PAISE_DECIMALS) for rate in element.iterfind("somTiers/tier/rate")]
        spreads = _in_order(_spread(spread, "F", "pLeg") for spread in element.iterfind("dSpread"))
        if any(leg.commodity != code for spread in spreads for leg in spread.legs):
            raise ValueError(f"a spread of {code} has a leg elsewhere")
        if twice := self._commodity_of_portfolio.keys() & set(portfolios):
            raise ValueError(f"portfolio {min(twice)} belongs to two combined commodities")
        self._commodities[code] = CombinedCommodity(
            code=code,
            group=_text(element, "group/aVal"),
            portfolios=portfolios,
            spreads=spreads,
            # Tiers, where there are any, are not told apart: the dearest holds for all.
            short_option_minimum=max(minima, default=0),
            short_option_method=ShortOptionMethod(_text(element, "somMeth")),
        )
        self._commodity_of_portfolio |= dict.fromkeys(portfolios, code)

    def _inter_commodity(self, element: Element) -> None:
        spreads = _in_order(_spread(spread, "P", "tLeg") for spread in element.iterfind("dSpread"))
        for spread in spreads:
            if spread.rate > MILLION:
                raise ValueError(f"the credit of inter-commodity spread {spread.priority} is no fraction")
        self._inter_commodity_spreads = spreads


def _in_order(spreads: Iterable[Spread]) -> tuple[Spread, ...]:
    return tuple(sorted(spreads, key=lambda spread: spread.priority))


def _spread(element: Element, method: str, leg_tag: str) -> Spread:
    """A spread whose rate is a flat charge (F, paise) or a credit (P, millionths)."""
    if (said := _text(element, "chargeMeth")) != method:
        raise ValueError(f"a spread is charged by {said}, which is not known")
    legs = tuple(
        SpreadLeg(
            commodity=_text(leg, "cc"),
            period=_text(leg, "pe") if leg_tag == "pLeg" else None,
            side=_text(leg, "rs"),
            deltas=_positive(leg, "i", FRACTION_DECIMALS),
        )
        for leg in element.iterfind(leg_tag)
    )
    if len(legs) != 2 or {leg.side for leg in legs} != {"A", "B"}:
        raise ValueError("a spread has not two legs on opposite sides")
    decimals = PAISE_DECIMALS if method == "F" else FRACTION_DECIMALS
    return Spread(_number(element, "spread"), _amount(element, "rate/val", decimals), legs)


def _scan_point(element: Element) -> ScanPoint:
    return ScanPoint(
        price_move=_number(element, "priceScanDef/mult", FRACTION_DECIMALS),
        volatility_move=_number(element, "volScanDef/mult", FRACTION_DECIMALS),
        weight=_number(element, "weight", FRACTION_DECIMALS),
        paired=_number(element, "pairedPoint"),
    )


def _product(family: Element) -> str:
    if (currency := _text(family, "currency")) != "INR":
        raise ValueError(f"a portfolio is in {currency[:10]}, not in INR")
    return _text(family, "pfCode")


def _expiry(element: Element) -> date:
    return date.fromisoformat(_text(element, "setlDate"))


def _number(element: Element, path: str, decimals: int = 0) -> int:
    return scaled(_text(element, path), decimals)


def _amount(element: Element, path: str, decimals: int) -> int:
    """A number that cannot be negative."""
    if (number := _number(element, path, decimals)) < 0:
        raise ValueError(f"a <{element.tag}> has a negative <{path}>")
    return number


def _positive(element: Element, path: str, decimals: int = 0) -> int:
    if (number := _number(element, path, decimals)) <= 0:
        raise ValueError(f"a <{element.tag}> has a <{path}> that is not positive")
    return number


def _text(element: Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"a <{element.tag}> has no <{path}>")
    return text
