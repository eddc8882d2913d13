"""The margin of derivatives carried forward (NRML): SPAN, exposure, and the premium of options bought.

`portfolio_margin` is exact for what is held; with orders at work it is the most that any of their fills,
whole, partial or none, can make it, so what is blocked always covers what can happen. `order_margin` is the
difference one more order makes. Rounded once, up: never for the client. None means that a contract, its
underlying or a rate is not known: refuse (market-rules section 7).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from domain.orders import Side
from domain.span import (
    MILLION,
    PRICES_A_PAISA,
    CombinedCommodity,
    ContractKey,
    ContractKind,
    RiskContract,
    SpanParameters,
)
from domain.span_risk import (
    Amount,
    Deltas,
    Reach,
    consumed,
    less_value,
    nothing,
    price_risk,
    scanned,
    scenario_losses,
    short_option_lines,
    spread_charge_at_most,
    spreads_formed,
    worst,
)


@dataclass(frozen=True, slots=True)
class MarginedPosition:
    contract: ContractKey
    quantity: int
    """Signed, in contracts of the file: units, for shares and indices."""


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """What is unfilled of an order. `price` in paise a unit: the most a purchase can pay."""

    contract: ContractKey
    side: Side
    quantity: int
    price: int


@dataclass(frozen=True, slots=True)
class ExposureRate:
    """Extreme loss margin of one product, in millionths of the value."""

    rate: int
    expiry_day_short_option: int = 0
    """On top, for an option sold that expires today."""


@dataclass(frozen=True, slots=True)
class MarginParameters:
    """All that a margin depends on besides the portfolio."""

    span: SpanParameters
    exposure: Mapping[str, ExposureRate]
    """By product; `*` is every other product, no entry: not known."""


@dataclass(frozen=True, slots=True)
class CommodityMargin:
    """How one combined commodity's requirement came about. Paise, each rounded against the client."""

    code: str
    scanning_risk: int
    spread_charge: int
    inter_commodity_credit: int
    short_option_minimum: int
    net_option_value: int
    """Negative when short."""
    span: int
    """max(scanning + spread - credit, minimum) - value, never below nothing."""


@dataclass(frozen=True, slots=True)
class MarginBreakdown:
    span: int
    exposure: int
    premium: int
    """Of options that orders buy: paid upfront. What is held is paid already."""
    commodities: tuple[CommodityMargin, ...]

    @property
    def total(self) -> int:
        return self.span + self.exposure + self.premium


def portfolio_margin(
    positions: Iterable[MarginedPosition], params: MarginParameters, orders: Sequence[WorkingOrder] = ()
) -> MarginBreakdown | None:
    """What positions and orders need together; None when it is not known."""
    reaches = _reaches(positions, orders, params.span)
    if reaches is None:
        return None
    exposures = [_exposure(reach, params) for reach in reaches]
    known = [exposure for exposure in exposures if exposure is not None]
    if len(known) < len(exposures):
        return None
    commodities = tuple(_commodity_margins(reaches, params.span))
    return MarginBreakdown(
        span=sum(commodity.span for commodity in commodities),
        exposure=_up(sum(known)),
        premium=sum(_premium(order, params.span.contracts[order.contract]) for order in orders),
        commodities=commodities,
    )


def order_margin(
    positions: Sequence[MarginedPosition],
    working: Sequence[WorkingOrder],
    order: WorkingOrder,
    params: MarginParameters,
) -> MarginBreakdown | None:
    """What one more order adds in the worst case, never negative; `commodities` are with the order."""
    before = portfolio_margin(positions, params, working)
    after = portfolio_margin(positions, params, [*working, order])
    if before is None or after is None:
        return None
    return MarginBreakdown(
        after.span - before.span,
        after.exposure - before.exposure,
        after.premium - before.premium,
        after.commodities,
    )


def _reaches(
    positions: Iterable[MarginedPosition], orders: Iterable[WorkingOrder], span: SpanParameters
) -> list[Reach] | None:
    low, high = defaultdict[ContractKey, int](int), defaultdict[ContractKey, int](int)
    for position in positions:
        low[position.contract] += position.quantity
        high[position.contract] += position.quantity
    for order in orders:
        end = high if order.side is Side.BUY else low
        end[order.contract] += order.side.sign * order.quantity
    keys = dict.fromkeys([*low, *high])
    if any(key not in span.contracts for key in keys):
        return None
    return [Reach(span.contracts[key], low[key], high[key]) for key in keys if low[key] or high[key]]


def _premium(order: WorkingOrder, contract: RiskContract) -> int:
    bought = contract.key.kind.is_option and order.side is Side.BUY
    return order.quantity * order.price * contract.multiplier if bought else 0


def _exposure(reach: Reach, params: MarginParameters) -> Amount | None:
    """Extreme loss margin: of a future's value on either side, of the underlying's for options sold.

    Spreads are given no relief, which is the conservative reading.
    """
    key, multiplier = reach.contract.key, reach.contract.multiplier
    rate = params.exposure.get(key.product, params.exposure.get("*"))
    underlying = params.span.contracts.get(ContractKey(key.product, ContractKind.PHYSICAL))
    if rate is None or underlying is None:
        return None
    if not key.kind.is_option:
        value = max(abs(reach.low), abs(reach.high)) * reach.contract.price * multiplier
        return Fraction(value * rate.rate, MILLION)
    sold = max(0, -reach.low) * underlying.price * multiplier
    expires_today = key.expiry == params.span.business_date
    share = rate.rate + (rate.expiry_day_short_option if expires_today else 0)
    return Fraction(sold * share, MILLION)


@dataclass(slots=True)
class _Scan:
    """One commodity on its way through the steps."""

    commodity: CombinedCommodity
    reaches: list[Reach]
    fixed: bool
    """No order can change it: spreads are counted exactly and credits are given."""
    losses: list[Amount]
    deltas: Deltas
    spread_charge: Fraction
    credit: Fraction = Fraction(0)


def _commodity_margins(reaches: Sequence[Reach], span: SpanParameters) -> list[CommodityMargin]:
    by_commodity = defaultdict[str, list[Reach]](list)
    for reach in reaches:
        by_commodity[span.commodity(reach.contract).code].append(reach)
    scans = {code: _scan(span.commodities[code], held) for code, held in sorted(by_commodity.items())}
    _give_credits(scans, span)
    return [_margin(scan) for scan in scans.values()]


def _scan(commodity: CombinedCommodity, reaches: list[Reach]) -> _Scan:
    fixed = all(reach.low == reach.high for reach in reaches)
    deltas = Deltas(reaches)
    charge = (
        deltas.spread_charge(commodity.spreads)
        if fixed
        else spread_charge_at_most(commodity.spreads, reaches)
    )
    return _Scan(commodity, reaches, fixed, scenario_losses(reaches), deltas, charge)


def _give_credits(scans: Mapping[str, _Scan], span: SpanParameters) -> None:
    """Credits between commodities, in their order: for what is held, never for what is ordered."""
    net = {code: scan.deltas.net for code, scan in scans.items() if scan.fixed}
    left = dict(net)
    for spread in span.inter_commodity_spreads:
        one, other = spread.legs
        if one.commodity not in left or other.commodity not in left:
            continue
        count = spreads_formed(left[one.commodity], one, left[other.commodity], other)
        for leg in spread.legs if count else ():
            scan, before = scans[leg.commodity], left[leg.commodity]
            left[leg.commodity] = after = consumed(before, leg, count)
            share = abs(before - after) / abs(net[leg.commodity])
            scan.credit += price_risk(scan.losses, span.scenarios) * share * Fraction(spread.rate, MILLION)


def _margin(scan: _Scan) -> CommodityMargin:
    lines = short_option_lines(scan.commodity)
    floors = [worst(scan.reaches, less_value(line)) for line in lines]
    risk = scanned(scan.reaches) + scan.spread_charge - scan.credit
    return CommodityMargin(
        code=scan.commodity.code,
        scanning_risk=_up(max(0, *scan.losses)),
        spread_charge=_up(scan.spread_charge),
        inter_commodity_credit=-_up(-scan.credit),
        short_option_minimum=_up(max(worst(scan.reaches, line) for line in lines)),
        net_option_value=-_up(worst(scan.reaches, less_value(nothing))),
        span=_up(max(0, risk, *floors)),
    )


def _up(amount: Amount) -> int:
    """Paise, rounded up, of an amount in 1/10,000 rupee."""
    whole: int = -amount // PRICES_A_PAISA
    return -whole
