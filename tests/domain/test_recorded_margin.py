"""The NRML margin on cases computed by hand from NSE Clearing's own file of 26 May 2017."""

from datetime import date

import pytest

from domain.portfolio_margin import (
    CommodityMargin,
    ExposureRate,
    MarginBreakdown,
    MarginedPosition,
    MarginParameters,
    portfolio_margin,
)
from domain.span import ContractKey, ContractKind
from exchange.files.span_parser import read_span_file
from tests.support.market_data import recorded, recorded_file

pytestmark = recorded


@pytest.fixture(scope="module")
def currencies() -> MarginParameters:
    span = read_span_file(recorded_file("margin/nsccl_x.20170526.i01.spn.gz"))
    return MarginParameters(span, {"*": ExposureRate(10_000)})


def margin(params: MarginParameters, *positions: tuple[ContractKey, int]) -> MarginBreakdown:
    held = portfolio_margin([MarginedPosition(key, quantity) for key, quantity in positions], params)
    assert held is not None
    return held


def test_a_long_future_needs_its_worst_scenario_and_a_hundredth_of_its_value(
    currencies: MarginParameters,
) -> None:
    held = margin(currencies, (ContractKey("GBPINR", ContractKind.FUTURE, date(2017, 5, 29)), 1))
    # Scenario 14 costs 1,743.94; 1,000 pounds at 83.78 are worth 83,780.
    assert (held.span, held.exposure, held.premium, held.total) == (1743_94, 837_80, 0, 2581_74)


def test_a_calendar_spread_pays_what_is_left_of_the_scan_and_a_charge_a_pair(
    currencies: MarginParameters,
) -> None:
    may, june = (
        ContractKey("GBPINR", ContractKind.FUTURE, day) for day in (date(2017, 5, 29), date(2017, 6, 28))
    )
    held = margin(currencies, (may, 3), (june, -2))
    # Scenario 14: 3 x 1,743.94 - 2 x 1,752.16 = 1,727.50; two pairs at 1,500.
    assert held.commodities == (CommodityMargin("GBPINR", 1727_50, 3000_00, 0, 0, 0, 4727_50),)
    assert held.exposure == 2513_40 + 1683_45


def test_an_option_sold_needs_its_value_on_top_and_one_bought_needs_nothing(
    currencies: MarginParameters,
) -> None:
    put = ContractKey("USDINR", ContractKind.PUT, date(2017, 6, 28), 68_5000)
    # Scenario 15 costs the seller 845.40, and buying back costs 3.57 x 1,000. Exposure is of the underlying.
    short = margin(currencies, (put, -1))
    assert (short.span, short.exposure) == (845_40 + 3570_00, 646_25)
    long = margin(currencies, (put, 1))
    assert (long.span, long.exposure, long.premium) == (0, 0, 0)
    assert long.commodities[0].net_option_value == 3570_00
