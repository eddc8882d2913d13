"""The SPAN risk of one combined commodity, for every quantity that its orders may still make of it.

A `Reach` is a contract and the least and greatest quantity it can come to. Each line of the requirement (a
scenario, a floor) is convex in each quantity, so its worst over all partial fills lies at the ends and is
found exactly, line by line. Amounts are exact, in 1/10,000 rupee as the file's prices are; the caller rounds
once. Source: the CME's SPAN 4 algorithm with NSE Clearing's choices. Called by domain/portfolio_margin.py.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from domain.span import (
    MILLION,
    PRICES_A_PAISA,
    SCENARIOS,
    CombinedCommodity,
    ContractKind,
    RiskContract,
    ScanPoint,
    ShortOptionMethod,
    Spread,
    SpreadLeg,
)

Amount = int | Fraction
Line = Callable[[RiskContract, int], Amount]
"""What a quantity of a contract adds to one line of the requirement; convex in the quantity."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Signed contracts: `low` when only the sales fill, `high` when only the purchases do."""

    contract: RiskContract
    low: int
    high: int


def worst(reaches: Iterable[Reach], line: Line) -> Amount:
    """The most a line can come to."""
    return sum(
        line(r.contract, r.low) if r.low == r.high else max(line(r.contract, r.low), line(r.contract, r.high))
        for r in reaches
    )


def option_value(contract: RiskContract, quantity: int) -> int:
    """What options are worth, negative when short; futures are settled daily and worth nothing."""
    return quantity * contract.price * contract.multiplier if contract.key.kind.is_option else 0


def less_value(line: Line) -> Line:
    """The line when options bought count for it and options sold against it."""
    return lambda contract, quantity: line(contract, quantity) - option_value(contract, quantity)


def scenario_losses(reaches: Sequence[Reach]) -> list[Amount]:
    """The worst loss in each scenario, before option value."""
    return [
        sum(_at_worst(r, r.contract.losses[scenario] * PRICES_A_PAISA) for r in reaches)
        for scenario in range(SCENARIOS)
    ]


def scanned(reaches: Sequence[Reach]) -> Amount:
    """Scanning risk less net option value. A portfolio that gains in every scenario has no risk, not less."""
    values = [option_value(reach.contract, 1) for reach in reaches]
    valued = list(zip(reaches, values, strict=True))
    return max(
        sum(_at_worst(reach, -value) for reach, value in valued),
        *(
            sum(_at_worst(r, r.contract.losses[scenario] * PRICES_A_PAISA - value) for r, value in valued)
            for scenario in range(SCENARIOS)
        ),
    )


def _at_worst(reach: Reach, loss: int) -> int:
    """Of a line that is so much for each contract."""
    return loss * (reach.high if loss > 0 else reach.low)


def nothing(contract: RiskContract, quantity: int) -> Amount:
    return 0


def short_option_lines(commodity: CombinedCommodity) -> list[Line]:
    """The floor of short options: calls and puts together, or each apart and the larger counts."""

    def of(*kinds: ContractKind) -> Line:
        minimum = commodity.short_option_minimum * PRICES_A_PAISA
        return lambda contract, quantity: minimum * max(0, -quantity) if contract.key.kind in kinds else 0

    if commodity.short_option_method is ShortOptionMethod.GROSS:
        return [of(ContractKind.CALL, ContractKind.PUT)]
    return [of(ContractKind.CALL), of(ContractKind.PUT)]


def delta(contract: RiskContract, quantity: int) -> Fraction:
    return Fraction(quantity * contract.composite_delta * contract.delta_scaling, MILLION**2)


class Deltas:
    """A commodity's net delta by expiry; spreads consume it."""

    def __init__(self, reaches: Iterable[Reach]) -> None:
        self._by_period = defaultdict[str | None, Fraction](Fraction)
        for reach in reaches:
            self._by_period[reach.contract.period] += delta(reach.contract, reach.low)

    @property
    def net(self) -> Fraction:
        return sum(self._by_period.values(), Fraction(0))

    def spread_charge(self, spreads: Iterable[Spread]) -> Fraction:
        """Form the spreads between expiries in their order, consume their delta, and return the charge."""
        charge, held = Fraction(0), self._by_period
        for spread in spreads:
            near, far = spread.legs
            count = spreads_formed(held[near.period], near, held[far.period], far)
            for leg in spread.legs if count else ():
                held[leg.period] = consumed(held[leg.period], leg, count)
            charge += count * spread.rate * PRICES_A_PAISA
        return charge


def consumed(held: Fraction, leg: SpreadLeg, count: Fraction) -> Fraction:
    """What spreads leave of a delta."""
    used = count * Fraction(leg.deltas, MILLION)
    return held - used if held > 0 else held + used


def spreads_formed(one: Fraction, leg: SpreadLeg, other: Fraction, opposite: SpreadLeg) -> Fraction:
    """How many spreads two deltas make: none unless they stand on opposite sides."""
    if one * other >= 0:
        return Fraction(0)
    return min(abs(one) / Fraction(leg.deltas, MILLION), abs(other) / Fraction(opposite.deltas, MILLION))


def spread_charge_at_most(spreads: Iterable[Spread], reaches: Iterable[Reach]) -> Fraction:
    """A bound on the charge whatever fills: all delta of one side pays the dearest spread of its expiry."""
    dearest, longs, shorts = (defaultdict[str | None, Fraction](Fraction) for _ in range(3))
    if not (spreads := tuple(spreads)):
        return Fraction(0)
    for spread in spreads:
        for leg in spread.legs:
            dearest[leg.period] = max(
                dearest[leg.period], Fraction(spread.rate * PRICES_A_PAISA * MILLION, leg.deltas)
            )
    for reach in reaches:
        ends = delta(reach.contract, reach.low), delta(reach.contract, reach.high)
        longs[reach.contract.period] += max(ends)
        shorts[reach.contract.period] -= min(ends)

    def charge(side: dict[str | None, Fraction], opposite: dict[str | None, Fraction]) -> Fraction:
        return sum(
            (
                held * dearest[period]
                for period, held in side.items()
                if held > 0 and any(other > 0 for at, other in opposite.items() if at != period)
            ),
            Fraction(0),
        )

    return min(charge(longs, shorts), charge(shorts, longs))


def price_risk(losses: Sequence[Amount], scenarios: Sequence[ScanPoint]) -> Fraction:
    """The part of the scanning risk that the price alone explains.

    The worst scenario averaged with its pair (no volatility), less what passes with time alone; at least
    nothing, at most the scanning risk.
    """

    def averaged(scenario: int) -> Fraction:
        return Fraction(losses[scenario] + losses[scenarios[scenario].paired - 1]) / 2

    largest = max(losses)
    return max(Fraction(0), min(Fraction(largest), averaged(losses.index(largest)) - averaged(0)))
