"""Builders of SPAN parameters: two indices, ALPHA and BETA, whose numbers can be reckoned in the head."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from domain.portfolio_margin import ExposureRate, MarginParameters
from domain.span import (
    MILLION,
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

TODAY = date(2026, 11, 24)
PORTFOLIOS = {"ALPHA": (1, 2, 3, 3), "BETA": (4, 5, 6, 6)}
"""Product families by kind: the underlying, futures, calls, puts."""
NEAR, FAR = date(2026, 12, 29), date(2027, 1, 26)
THIRDS = (0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3)
"""The price move of scenarios 1 to 14 in thirds of the scan range; 15 and 16 are 2 ranges at 35%."""
SCENARIOS = (
    *(
        ScanPoint(third * MILLION // 3, MILLION if point % 2 == 0 else -MILLION, MILLION, (point ^ 1) + 1)
        for point, third in enumerate(THIRDS)
    ),
    ScanPoint(2 * MILLION, 0, 350_000, 15),
    ScanPoint(-2 * MILLION, 0, 350_000, 16),
)


def future(product: str, expiry: date) -> ContractKey:
    return ContractKey(product, ContractKind.FUTURE, expiry)


def option(product: str, kind: ContractKind, expiry: date = NEAR, strike: int = 1000_0000) -> ContractKey:
    return ContractKey(product, kind, expiry, strike)


def linear(scan: int) -> tuple[int, ...]:
    """Losses of one long future whose price moves by `scan` paise, a multiple of 30, in a full scenario."""
    return (*(-third * scan // 3 for third in THIRDS), -scan * 7 // 10, scan * 7 // 10)


def a_contract(key: ContractKey, **changes: Any) -> RiskContract:
    facts: dict[str, Any] = {
        "key": key,
        "portfolio": PORTFOLIOS[key.product][list(ContractKind).index(key.kind)],
        "period": f"{key.expiry:%Y%m%d}" if key.expiry else "00000000",
        "multiplier": 1,
        "price": 1000_0000,
        "price_scan": 90_00,
        "volatility_scan": 40_000,
        "delta_scaling": MILLION,
        "losses": linear(90_00),
        "composite_delta": MILLION,
    }
    return RiskContract(**(facts | changes))


def calendar_spread(
    product: str, charge: int, near: date = NEAR, far: date = FAR, priority: int = 1
) -> Spread:
    legs = (
        SpreadLeg(product, f"{near:%Y%m%d}", "A", MILLION),
        SpreadLeg(product, f"{far:%Y%m%d}", "B", MILLION),
    )
    return Spread(priority, charge, legs)


def a_commodity(code: str, **changes: Any) -> CombinedCommodity:
    facts: dict[str, Any] = {
        "code": code,
        "group": "ALL",
        "portfolios": PORTFOLIOS[code][:3],
        "spreads": (),
        "short_option_minimum": 0,
        "short_option_method": ShortOptionMethod.GROSS,
    }
    return CombinedCommodity(**(facts | changes))


def some_parameters(
    contracts: Iterable[RiskContract],
    commodities: Iterable[CombinedCommodity] = (a_commodity("ALPHA"), a_commodity("BETA")),
    credits: tuple[Spread, ...] = (),
    today: date = TODAY,
) -> MarginParameters:
    """The contracts, both underlyings at Rs 1,000; exposure 2%, and 4% for an option sold on its last day."""
    underlyings = [a_contract(ContractKey(product, ContractKind.PHYSICAL)) for product in ("ALPHA", "BETA")]
    by_code = {commodity.code: commodity for commodity in commodities}
    span = SpanParameters(
        clearing_organisation="NSCCL",
        exchange="NSE",
        business_date=today,
        created="202611240800",
        scenarios=SCENARIOS,
        contracts={contract.key: contract for contract in [*underlyings, *contracts]},
        commodities=by_code,
        commodity_of_portfolio={portfolio: code for code, all_ in PORTFOLIOS.items() for portfolio in all_},
        inter_commodity_spreads=credits,
    )
    return MarginParameters(span, {"*": ExposureRate(20_000, 20_000)})
