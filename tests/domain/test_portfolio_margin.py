"""The NRML margin on hand-computed cases: a file of two currencies and two made-up indices."""

from datetime import date

import pytest

from domain.orders import Side
from domain.portfolio_margin import (
    CommodityMargin,
    ExposureRate,
    MarginBreakdown,
    MarginedPosition,
    MarginParameters,
    WorkingOrder,
    order_margin,
    portfolio_margin,
)
from domain.span import MILLION, ContractKey, ContractKind, ShortOptionMethod, Spread, SpreadLeg
from exchange.files.span_parser import read_span_file
from tests.support.derivatives import (
    FAR,
    NEAR,
    a_commodity,
    a_contract,
    calendar_spread,
    future,
    linear,
    option,
    some_parameters,
)
from tests.support.span_text import JUNE, MAY, write_span

NEAR_FUTURE, FAR_FUTURE = future("ALPHA", NEAR), future("ALPHA", FAR)
CALL, PUT = option("ALPHA", ContractKind.CALL), option("ALPHA", ContractKind.PUT)
PLAIN = some_parameters(
    [
        a_contract(NEAR_FUTURE),
        a_contract(FAR_FUTURE, losses=linear(120_00)),
        a_contract(CALL, price=50_0000, losses=linear(45_00), composite_delta=MILLION // 2),
    ],
    [a_commodity("ALPHA", spreads=(calendar_spread("ALPHA", 20_00),), short_option_minimum=50_00)],
)


@pytest.fixture(scope="module")
def currencies(tmp_path_factory: pytest.TempPathFactory) -> MarginParameters:
    file = write_span(tmp_path_factory.mktemp("span"))
    return MarginParameters(read_span_file(file), {"*": ExposureRate(10_000)})


def margin(params: MarginParameters, *positions: tuple[ContractKey, int]) -> MarginBreakdown:
    held = portfolio_margin([MarginedPosition(key, quantity) for key, quantity in positions], params)
    assert held is not None
    return held


def test_a_long_future_needs_its_worst_scenario_and_a_hundredth_of_its_value(
    currencies: MarginParameters,
) -> None:
    held = margin(currencies, (ContractKey("GBPINR", ContractKind.FUTURE, MAY), 1))
    # Scenario 14 costs 1,861.52; 1,000 pounds at 98.26 are worth 98,260.
    assert (held.span, held.exposure, held.premium, held.total) == (1861_52, 982_60, 0, 2844_12)


def test_a_calendar_spread_pays_what_is_left_of_the_scan_and_a_charge_a_pair(
    currencies: MarginParameters,
) -> None:
    may, june = (ContractKey("GBPINR", ContractKind.FUTURE, day) for day in (MAY, JUNE))
    held = margin(currencies, (may, 3), (june, -2))
    # Scenario 14: 3 x 1,861.52 - 2 x 1,866.93 = 1,850.70; two pairs at 1,625.
    assert held.commodities == (CommodityMargin("GBPINR", 1850_70, 3250_00, 0, 0, 0, 5100_70),)
    assert held.exposure == 2947_80 + 1974_30


def test_an_option_sold_needs_its_value_on_top_and_one_bought_needs_nothing(
    currencies: MarginParameters,
) -> None:
    put = ContractKey("USDINR", ContractKind.PUT, JUNE, 75_2500)
    # Scenario 11 costs the seller 851.36, and buying back costs 3.61 x 1,000. Exposure is of the underlying.
    short = margin(currencies, (put, -1))
    assert (short.span, short.exposure) == (851_36 + 3610_00, 709_85)
    long = margin(currencies, (put, 1))
    assert (long.span, long.exposure, long.premium) == (0, 0, 0)
    assert long.commodities[0].net_option_value == 3610_00


def test_a_short_option_has_a_floor() -> None:
    # The scan takes 45.00 a call, the floor 50.00; each is worth 50.00.
    held = margin(PLAIN, (CALL, -2))
    assert held.commodities == (CommodityMargin("ALPHA", 90_00, 0, 0, 100_00, -100_00, 200_00),)
    # Two calls hedged by a future: the scan is nothing, the floor stays.
    assert margin(PLAIN, (CALL, -2), (NEAR_FUTURE, 1)).span == 200_00


def test_the_floor_counts_calls_and_puts_together_or_only_the_larger() -> None:
    def span(method: ShortOptionMethod) -> int:
        flat = tuple([0] * 16)
        contracts = [a_contract(key, price=0, losses=flat, composite_delta=0) for key in (CALL, PUT)]
        alpha = a_commodity("ALPHA", short_option_minimum=50_00, short_option_method=method)
        return margin(some_parameters(contracts, [alpha]), (CALL, -3), (PUT, -2)).span

    assert span(ShortOptionMethod.GROSS) == 250_00
    assert span(ShortOptionMethod.MAX) == 150_00


def test_spreads_are_formed_by_priority_out_of_delta() -> None:
    # 2 near, 3 far: the scan leaves 2 x 90 - 3 x 120 = 180 on the short side; two pairs at 20.
    held = margin(PLAIN, (NEAR_FUTURE, 2), (FAR_FUTURE, -3))
    assert (held.commodities[0].scanning_risk, held.commodities[0].spread_charge) == (180_00, 40_00)
    # A call of the near expiry has half a delta: half a pair.
    assert margin(PLAIN, (CALL, 1), (FAR_FUTURE, -1)).commodities[0].spread_charge == 10_00
    # One direction, no spread.
    assert margin(PLAIN, (NEAR_FUTURE, 2), (FAR_FUTURE, 3)).commodities[0].spread_charge == 0


def test_opposite_commodities_are_credited_for_the_price_risk_of_what_they_match() -> None:
    alpha, beta = (SpreadLeg(code, None, side, MILLION) for code, side in (("ALPHA", "A"), ("BETA", "B")))
    params = some_parameters(
        [a_contract(future("ALPHA", NEAR)), a_contract(future("BETA", NEAR), losses=linear(60_00))],
        credits=(Spread(1, MILLION // 2, (alpha, beta)),),
    )
    held = margin(params, (future("ALPHA", NEAR), 3), (future("BETA", NEAR), -1))
    # One delta of each matches: half of 90.00 and half of 60.00 come back.
    assert [c.inter_commodity_credit for c in held.commodities] == [45_00, 30_00]
    assert held.span == 270_00 + 60_00 - 75_00
    same_side = margin(params, (future("ALPHA", NEAR), 3), (future("BETA", NEAR), 1))
    assert same_side.span == 330_00


def test_an_option_sold_on_its_last_day_pays_more_exposure() -> None:
    contracts = [a_contract(CALL, price=30_0000)]
    assert margin(some_parameters(contracts), (CALL, -1)).exposure == 20_00
    assert margin(some_parameters(contracts, today=NEAR), (CALL, -1)).exposure == 40_00


def test_what_is_not_known_is_refused_not_guessed() -> None:
    missing = MarginedPosition(future("ALPHA", date(2027, 2, 23)), 1)
    assert portfolio_margin([missing], PLAIN) is None
    assert portfolio_margin([MarginedPosition(NEAR_FUTURE, 1)], MarginParameters(PLAIN.span, {})) is None
    order = WorkingOrder(missing.contract, Side.BUY, 1, 1000_00)
    assert order_margin([], [], order, PLAIN) is None
    nothing = portfolio_margin([], PLAIN)
    assert nothing is not None
    assert nothing.total == 0


def added(
    order: WorkingOrder, positions: dict[ContractKey, int], *working: WorkingOrder
) -> tuple[int, int, int]:
    held = [MarginedPosition(key, quantity) for key, quantity in positions.items()]
    result = order_margin(held, working, order, PLAIN)
    assert result is not None
    return result.span, result.exposure, result.premium


def test_an_order_adds_what_it_opens_and_nothing_for_what_it_closes() -> None:
    sell = WorkingOrder(NEAR_FUTURE, Side.SELL, 5, 1000_00)
    assert added(sell, {}) == (450_00, 100_00, 0)
    assert added(sell, {NEAR_FUTURE: 5}) == (0, 0, 0)
    assert added(sell, {NEAR_FUTURE: 2}) == (90_00, 20_00, 0)
    # A position is closed once: the next sale opens.
    assert added(sell, {NEAR_FUTURE: 5}, sell) == (0, 0, 0)
    assert added(sell, {NEAR_FUTURE: 5}, sell, sell) == (450_00, 100_00, 0)


def test_an_option_bought_costs_its_premium_and_one_sold_its_margin_and_value() -> None:
    assert added(WorkingOrder(CALL, Side.BUY, 2, 51_00), {}) == (0, 0, 102_00)
    assert added(WorkingOrder(CALL, Side.SELL, 2, 51_00), {}) == (200_00, 40_00, 0)


def test_an_order_that_would_take_a_hedge_away_is_charged_for_the_naked_leg() -> None:
    hedged = {NEAR_FUTURE: 3, FAR_FUTURE: -2}
    lifted = added(WorkingOrder(FAR_FUTURE, Side.BUY, 2, 1000_00), hedged)
    # Held: |3 x 90 - 2 x 120| + 2 x 20 = 70. Lifted: 270, and the bound still counts the two pairs.
    assert lifted == (270_00 + 40_00 - 70_00, 0, 0)
