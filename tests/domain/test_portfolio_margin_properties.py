"""The NRML margin under any portfolio: against a slow twin on made-up numbers, and as a market's economics.

The twin follows the textbook, position by position and step by step, and tries every subset of fills; it
shares no line with domain/span_risk.py but the parameters. The economics hold on the index options that the
simulated exchange publishes, and on NSE's own dollar options where its file is.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.orders import Side
from domain.portfolio_margin import (
    ExposureRate,
    MarginBreakdown,
    MarginedPosition,
    MarginParameters,
    WorkingOrder,
    order_margin,
    portfolio_margin,
)
from domain.span import (
    MILLION,
    PRICES_A_PAISA,
    ContractKey,
    ContractKind,
    ShortOptionMethod,
    Spread,
    SpreadLeg,
)
from domain.time import NANOS
from exchange.files.master import read_master
from exchange.files.span_parser import read_span_file
from exchange.simulator.clearing.span_publisher import span_parameters
from tests.support.derivatives import (
    FAR,
    NEAR,
    a_commodity,
    a_contract,
    calendar_spread,
    future,
    option,
    some_parameters,
)
from tests.support.market_data import recorded, recorded_file

KEYS = [
    future("ALPHA", NEAR),
    future("ALPHA", FAR),
    option("ALPHA", ContractKind.CALL),
    option("ALPHA", ContractKind.PUT, FAR),
    future("BETA", NEAR),
]
PUBLISHED_NS = 1_795_492_800 * NANOS
"""24 November 2026."""
EXPIRIES = 3
"""Of the near ones."""
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The twin is slow by design."""


@st.composite
def parameters(draw: st.DrawFn) -> MarginParameters:
    contracts = [
        a_contract(
            key,
            price=draw(st.integers(0, 200_0000)),
            losses=tuple(draw(st.lists(st.integers(-100_00, 100_00), min_size=16, max_size=16))),
            composite_delta=draw(st.integers(-MILLION, MILLION)),
        )
        for key in KEYS
    ]
    alpha = a_commodity(
        "ALPHA",
        spreads=(calendar_spread("ALPHA", draw(st.integers(0, 200_00))),),
        short_option_minimum=draw(st.integers(0, 150_00)),
        short_option_method=draw(st.sampled_from(ShortOptionMethod)),
    )
    legs = (
        SpreadLeg("ALPHA", None, "A", MILLION),
        SpreadLeg("BETA", None, "B", draw(st.integers(1, 3 * MILLION))),
    )
    credit = Spread(1, draw(st.integers(0, MILLION)), legs)
    return some_parameters(contracts, [alpha, a_commodity("BETA")], draw(st.sampled_from([(), (credit,)])))


def positions(keys: Sequence[ContractKey], at_most: int = 5) -> st.SearchStrategy[list[MarginedPosition]]:
    return st.lists(st.builds(MarginedPosition, st.sampled_from(keys), st.integers(-9, 9)), max_size=at_most)


def orders(keys: Sequence[ContractKey], at_most: int = 4) -> st.SearchStrategy[list[WorkingOrder]]:
    order = st.builds(
        WorkingOrder, st.sampled_from(keys), st.sampled_from(Side), st.integers(1, 9), st.integers(1, 100_00)
    )
    return st.lists(order, max_size=at_most)


@cache
def market(source: str) -> MarginParameters:
    """The parameters of a market that is `published` by the simulated exchange or `recorded`."""
    if source == "recorded":
        span = read_span_file(recorded_file("margin/nsccl_x.20170526.i01.spn.gz"))
        return MarginParameters(span, {"*": ExposureRate(10_000)})
    published = span_parameters("NSE", read_master("NSE"), PUBLISHED_NS)
    assert published is not None
    return MarginParameters(published, {"*": ExposureRate(10_000)})


@cache
def contracts(source: str) -> list[ContractKey]:
    """Of the one product that has the most."""
    keys = [key for key in market(source).span.contracts if key.kind is not ContractKind.PHYSICAL]
    [(product, _)] = Counter(key.product for key in keys).most_common(1)
    return [key for key in keys if key.product == product]


on_each_market = pytest.mark.parametrize("source", ["published", pytest.param("recorded", marks=recorded)])


def known(margin: MarginBreakdown | None) -> MarginBreakdown:
    assert margin is not None
    return margin


class Textbook:
    """SPAN as it is written down: net the positions, then scan, spread, credit, floor and value in turn."""

    def __init__(self, held: Sequence[MarginedPosition], params: MarginParameters) -> None:
        self.span = params.span
        self.net: dict[ContractKey, int] = {}
        for position in held:
            self.net[position.contract] = self.net.get(position.contract, 0) + position.quantity
        self.codes = sorted({key.product for key, quantity in self.net.items() if quantity})
        self.left: dict[str, Fraction] = {}
        self.charge = {code: self._charge(code) for code in self.codes}
        self.credit = self._credits()

    def requirement(self) -> int:
        return sum(ceil(max(Fraction(0), self._risk(code) - self._value(code))) for code in self.codes)

    def _of(self, code: str) -> list[tuple[ContractKey, int]]:
        return [(key, quantity) for key, quantity in self.net.items() if key.product == code]

    def _losses(self, code: str) -> list[int]:
        return [
            sum(quantity * self.span.contracts[key].losses[scenario] for key, quantity in self._of(code))
            for scenario in range(16)
        ]

    def _risk(self, code: str) -> Fraction:
        scan = max(0, max(self._losses(code)))
        return max(scan + self.charge[code] - self.credit[code], Fraction(self._floor(code)))

    def _floor(self, code: str) -> int:
        sold = dict.fromkeys(ContractKind, 0)
        for key, quantity in self._of(code):
            sold[key.kind] += max(0, -quantity)
        calls, puts = sold[ContractKind.CALL], sold[ContractKind.PUT]
        commodity = self.span.commodities[code]
        gross = commodity.short_option_method is ShortOptionMethod.GROSS
        return commodity.short_option_minimum * (calls + puts if gross else max(calls, puts))

    def _value(self, code: str) -> Fraction:
        options = [(key, quantity) for key, quantity in self._of(code) if key.kind.is_option]
        return Fraction(sum(q * self.span.contracts[key].price for key, q in options), PRICES_A_PAISA)

    def _charge(self, code: str) -> Fraction:
        near, far = (
            sum(
                (
                    Fraction(quantity * self.span.contracts[key].composite_delta, MILLION)
                    for key, quantity in self._of(code)
                    if key.expiry == expiry
                ),
                Fraction(0),
            )
            for expiry in (NEAR, FAR)
        )
        self.left[code] = near + far
        if near * far >= 0 or not self.span.commodities[code].spreads:
            return Fraction(0)
        return min(abs(near), abs(far)) * self.span.commodities[code].spreads[0].rate

    def _credits(self) -> dict[str, Fraction]:
        nothing = dict.fromkeys(self.codes, Fraction(0))
        if not self.span.inter_commodity_spreads or self.codes != ["ALPHA", "BETA"]:
            return nothing
        alpha, beta = self.left["ALPHA"], self.left["BETA"]
        spread = self.span.inter_commodity_spreads[0]
        ratio = Fraction(spread.legs[1].deltas, MILLION)
        if alpha * beta >= 0:
            return nothing
        count = min(abs(alpha), abs(beta) / ratio)
        rate = Fraction(spread.rate, MILLION)
        return {
            "ALPHA": self._price_risk("ALPHA") / abs(alpha) * count * rate,
            "BETA": self._price_risk("BETA") / abs(beta) * count * ratio * rate,
        }

    def _price_risk(self, code: str) -> Fraction:
        losses = self._losses(code)
        largest = losses.index(max(losses))
        pair = largest if largest >= 14 else largest + 1 if largest % 2 == 0 else largest - 1
        by_price = Fraction(losses[largest] + losses[pair], 2) - Fraction(losses[0] + losses[1], 2)
        return max(Fraction(0), min(by_price, Fraction(max(losses))))


def filled(
    held: list[MarginedPosition], working: list[WorkingOrder], quantities: Sequence[int]
) -> list[MarginedPosition]:
    fills = [
        MarginedPosition(o.contract, o.side.sign * quantity)
        for o, quantity in zip(working, quantities, strict=True)
    ]
    return held + fills


@PATIENT
@given(params=parameters(), held=positions(KEYS))
def test_what_is_held_is_margined_as_the_textbook_says(
    params: MarginParameters, held: list[MarginedPosition]
) -> None:
    assert known(portfolio_margin(held, params)).span == Textbook(held, params).requirement()


@PATIENT
@given(params=parameters(), held=positions(KEYS), working=orders(KEYS))
def test_what_is_blocked_covers_every_subset_of_fills(
    params: MarginParameters, held: list[MarginedPosition], working: list[WorkingOrder]
) -> None:
    blocked = known(portfolio_margin(held, params, working)).span
    subsets = product(*((0, order.quantity) for order in working))
    assert blocked >= max(Textbook(filled(held, working, s), params).requirement() for s in subsets)


@PATIENT
@given(params=parameters(), held=positions(KEYS), working=orders(KEYS), data=st.data())
def test_what_is_blocked_covers_any_partial_fills(
    params: MarginParameters, held: list[MarginedPosition], working: list[WorkingOrder], data: st.DataObject
) -> None:
    blocked = known(portfolio_margin(held, params, working))
    quantities = [data.draw(st.integers(0, order.quantity)) for order in working]
    after = known(portfolio_margin(filled(held, working, quantities), params))
    assert blocked.span >= after.span
    assert blocked.exposure >= after.exposure


@PATIENT
@given(held=positions(KEYS[:1]), working=orders(KEYS[:1]), params=parameters())
def test_for_one_contract_the_worst_case_is_one_that_can_happen(
    held: list[MarginedPosition], working: list[WorkingOrder], params: MarginParameters
) -> None:
    subsets = product(*((0, order.quantity) for order in working))
    worst = max(Textbook(filled(held, working, s), params).requirement() for s in subsets)
    assert known(portfolio_margin(held, params, working)).span == worst


@PATIENT
@given(params=parameters(), held=positions(KEYS), working=orders(KEYS))
def test_order_by_order_the_additions_make_the_whole_and_none_is_negative(
    params: MarginParameters, held: list[MarginedPosition], working: list[WorkingOrder]
) -> None:
    total = known(portfolio_margin(held, params)).total
    for place, order in enumerate(working):
        added = known(order_margin(held, working[:place], order, params))
        assert min(added.span, added.exposure, added.premium) >= 0
        total += added.total
    assert total == known(portfolio_margin(held, params, working)).total


@on_each_market
@PATIENT
@given(data=st.data(), times=st.integers(1, 50))
def test_the_margin_grows_with_the_portfolio_and_a_part_closed_never_raises_it(
    source: str, data: st.DataObject, times: int
) -> None:
    held = data.draw(positions(contracts(source), 8))
    once = known(portfolio_margin(held, market(source)))
    larger = [MarginedPosition(position.contract, position.quantity * times) for position in held]
    scaled = known(portfolio_margin(larger, market(source)))
    # Each is rounded up once: a multiple may gain a paisa a time.
    assert scaled.span <= once.span * times < scaled.span + times
    assert once.span <= scaled.span


@on_each_market
@PATIENT
@given(data=st.data())
def test_within_an_expiry_a_hedge_never_costs_more_than_its_legs_apart(
    source: str, data: st.DataObject
) -> None:
    nearest = sorted({key.expiry for key in contracts(source) if key.expiry})[:EXPIRIES]
    expiry = data.draw(st.sampled_from(nearest))
    keys = [key for key in contracts(source) if key.expiry == expiry]
    one, other = data.draw(positions(keys, 8)), data.draw(positions(keys, 8))
    together = known(portfolio_margin(one + other, market(source)))
    apart = [known(portfolio_margin(leg, market(source))) for leg in (one, other)]
    assert together.span <= sum(leg.span for leg in apart)
    assert together.exposure <= sum(leg.exposure for leg in apart)


@on_each_market
@PATIENT
@given(data=st.data(), near=st.integers(-9, 9), far=st.integers(-9, 9))
def test_a_calendar_spread_never_costs_more_than_its_legs_apart(
    source: str, data: st.DataObject, near: int, far: int
) -> None:
    futures = [key for key in contracts(source) if key.kind is ContractKind.FUTURE]
    one = MarginedPosition(data.draw(st.sampled_from(futures)), near)
    other = MarginedPosition(data.draw(st.sampled_from(futures)), far)
    together = known(portfolio_margin([one, other], market(source))).span
    assert together <= sum(known(portfolio_margin([leg], market(source))).span for leg in (one, other))


@on_each_market
@PATIENT
@given(data=st.data(), held=st.integers(-50, 50), closed=st.integers(1, 50))
def test_an_order_that_only_closes_adds_no_margin(
    source: str, data: st.DataObject, held: int, closed: int
) -> None:
    key = data.draw(st.sampled_from(contracts(source)))
    side = Side.SELL if held > 0 else Side.BUY
    order = WorkingOrder(key, side, min(closed, abs(held)), 100_00)
    added = known(order_margin([MarginedPosition(key, held)], [], order, market(source)))
    assert (added.span, added.exposure) == (0, 0)


@on_each_market
def test_an_option_bought_never_needs_more_than_its_premium(source: str) -> None:
    bought = [key for key in contracts(source) if key.kind.is_option]
    assert len(bought) >= 20
    assert all(
        known(portfolio_margin([MarginedPosition(key, 1)], market(source))).total == 0 for key in bought
    )
