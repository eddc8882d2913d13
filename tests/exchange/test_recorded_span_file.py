"""The reader against NSE Clearing's own file of 26 May 2017, numbers copied by hand from its XML."""

import gzip
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from domain.span import ContractKey, ContractKind, ScanPoint, SpanParameters, Spread, SpreadLeg
from exchange.files.span_parser import read_span_file
from exchange.simulator.clearing.span_document import span_document
from tests.support.market_data import recorded, recorded_file

pytestmark = recorded
FILE = "margin/nsccl_x.20170526.i01.spn.gz"
MAY, JUNE = date(2017, 5, 29), date(2017, 6, 28)


@pytest.fixture(scope="module")
def span() -> SpanParameters:
    return read_span_file(recorded_file(FILE))


@pytest.fixture(scope="module")
def xml() -> str:
    return gzip.decompress(recorded_file(FILE).read_bytes()).decode().replace("\r\n", "\n")


def test_every_one_of_the_326_risk_arrays_is_read(span: SpanParameters, xml: str) -> None:
    assert len(span.contracts) == xml.count("<ra>") == 326
    kinds = Counter(key.kind for key in span.contracts)
    assert kinds == {
        ContractKind.PHYSICAL: 4,
        ContractKind.FUTURE: 48,
        ContractKind.CALL: 137,
        ContractKind.PUT: 137,
    }
    assert sum(len(contract.losses) for contract in span.contracts.values()) == xml.count("<a>") == 5216


def test_whose_file_it_is_and_of_which_day(span: SpanParameters) -> None:
    assert (span.clearing_organisation, span.exchange) == ("NSCCL", "NSE")
    assert (span.business_date, span.created) == (date(2017, 5, 26), "201705251931")


def test_a_future_is_read_to_the_last_digit(span: SpanParameters) -> None:
    future = span.contracts[ContractKey("GBPINR", ContractKind.FUTURE, MAY)]
    assert (future.portfolio, future.period, future.multiplier) == (2, "201705", 1000)
    assert (future.price, future.price_scan, future.volatility_scan) == (83_7800, 1730_00, 100_000)
    assert future.losses[:6] == (13_13, 13_13, -563_81, -563_81, 590_07, 590_07)
    assert future.losses[6:12] == (-1140_75, -1140_75, 1167_00, 1167_00, -1717_68, -1717_68)
    assert future.losses[12:] == (1743_94, 1743_94, -1206_97, 1216_16)
    assert (future.composite_delta, future.delta_scaling) == (1_000_000, 1_000_000)


def test_an_option_is_read_to_the_last_digit(span: SpanParameters) -> None:
    put = span.contracts[ContractKey("USDINR", ContractKind.PUT, JUNE, 68_5000)]
    assert (put.portfolio, put.period, put.price, put.price_scan) == (6, "201706", 3_5700, 830_00)
    assert put.losses[:8] == (-35_36, -6_31, 229_10, 270_36, -303_07, -282_97, 489_43, 547_01)
    assert put.losses[8:] == (-573_29, -559_64, 744_65, 823_63, -845_40, -836_31, 558_77, -583_22)
    assert put.composite_delta == -992_100
    assert span.commodity(put).code == "USDINR"


def test_the_underlying_has_its_price(span: SpanParameters) -> None:
    assert span.contracts[ContractKey("USDINR", ContractKind.PHYSICAL)].price == 64_6250


def test_the_scenarios_are_as_the_file_defines_them(span: SpanParameters) -> None:
    assert span.scenarios[0] == ScanPoint(0, 1_000_000, 1_000_000, paired=2)
    assert span.scenarios[4] == ScanPoint(-333_333, 1_000_000, 1_000_000, paired=6)
    assert span.scenarios[15] == ScanPoint(-3_000_000, 0, 300_000, paired=16)


def test_combined_commodities_have_their_spreads_and_floors(span: SpanParameters) -> None:
    pound, dollar = span.commodities["GBPINR"], span.commodities["USDINR"]
    assert (pound.group, pound.portfolios, pound.short_option_minimum) == ("ALL", (1, 2), 7000_00)
    assert (dollar.portfolios, dollar.short_option_minimum) == ((4, 5, 6), 0)
    near, far = SpreadLeg("GBPINR", "201705", "A", 1_000_000), SpreadLeg("GBPINR", "201706", "B", 1_000_000)
    assert pound.spreads[0] == Spread(1, 1500_00, (near, far))
    assert Counter(spread.rate for spread in dollar.spreads) == {
        1000_00: 36,
        400_00: 11,
        500_00: 10,
        800_00: 9,
    }
    assert sum(len(commodity.spreads) for commodity in span.commodities.values()) == 264
    assert span.inter_commodity_spreads == ()


def test_it_survives_being_written_again(span: SpanParameters, tmp_path: Path) -> None:
    again = tmp_path / "again.spn"
    again.write_bytes(span_document(span))
    assert read_span_file(again) == span
