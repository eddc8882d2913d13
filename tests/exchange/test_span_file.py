"""The reader against NSE Clearing's own file of 26 May 2017, numbers copied by hand from its XML."""

import gzip
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from domain.span import ContractKey, ContractKind, ScanPoint, SpanParameters, Spread, SpreadLeg
from exchange.span_file import SpanFileError, read_span_file
from tests.support.market_data import MARKET_DATA

FILE = MARKET_DATA / "margin" / "nsccl_x.20170526.i01.spn.gz"
MAY, JUNE = date(2017, 5, 29), date(2017, 6, 28)


@pytest.fixture(scope="module")
def span() -> SpanParameters:
    return read_span_file(FILE)


@pytest.fixture(scope="module")
def xml() -> str:
    return gzip.decompress(FILE.read_bytes()).decode().replace("\r\n", "\n")


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


def test_an_inter_commodity_credit_is_read(xml: str, tmp_path: Path) -> None:
    leg = "<tLeg><cc>{}</cc><tn>0</tn><rs>{}</rs><i>{}</i></tLeg>"
    legs = leg.format("GBPINR", "A", "1.000000") + leg.format("USDINR", "B", "1.300000")
    rate = "<chargeMeth>P</chargeMeth><rate><r>1</r><val>0.650000</val></rate>"
    credit = f"<interSpreads><dSpread><spread>1</spread>{rate}{legs}</dSpread>"
    span = read_span_file(written(tmp_path, xml.replace("<interSpreads>", credit)))
    pound, dollar = SpreadLeg("GBPINR", None, "A", 1_000_000), SpreadLeg("USDINR", None, "B", 1_300_000)
    assert span.inter_commodity_spreads == (Spread(1, 650_000, (pound, dollar)),)


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ("<fileFormat>4.00<", "<fileFormat>3.00<", "it is not of format 4.00"),
        ("<a>13.13</a>", "", "a risk array of GBPINR has 15 scenarios, not 16"),
        ("<a>13.13</a>", "<a>NaN</a>", "'NaN' is not a number with at most 2 decimals"),
        ("<a>13.13</a>", "<a>13.125</a>", "'13.125' is not a number with at most 2 decimals"),
        ("<cId>2</cId>\n<o>P</o>", "<cId>2</cId>\n<o>C</o>", "stands in it twice"),
        ("<o>P</o>", "<o>X</o>", "'X' is not a valid ContractKind"),
        ("<currency>INR</currency>\n<cvf>", "<currency>USD</currency>\n<cvf>", "is in USD, not in INR"),
        ("<pe>201705</pe>\n<p>", "<p>", "a <fut> has no <pe>"),
        ("<chargeMeth>F<", "<chargeMeth>W<", "a spread is charged by W"),
        ("<rs>B</rs>", "<rs>A</rs>", "two legs on opposite sides"),
        ("<pLeg>\n<cc>GBPINR<", "<pLeg>\n<cc>EURINR<", "a spread of GBPINR has a leg elsewhere"),
        ("<val>1500.000000<", "<val>-1500.000000<", "a <dSpread> has a negative <rate/val>"),
        ("<i>1.000000</i>\n</pLeg>", "<i>0.000000</i>\n</pLeg>", "a <pLeg> has a <i> that is not positive"),
        ("<p>3.4100</p>", "<p>-3.4100</p>", "a <opt> has a negative <p>"),
        ("</exchange>", "</exchange><exchange><exch>BSE</exch></exchange>", "it is not of one exchange"),
        (
            "<pfId>5</pfId>\n<pfCode>USDINR</pfCode>\n<pfType>FUT",
            "<pfId>2</pfId>\n<pfType>FUT",
            "two combined",
        ),
        ("<pairedPoint>2<", "<pairedPoint>17<", "paired with none"),
        ("<pfLink>\n<exch>NSE</exch>\n<pfId>1<", "<pfLink>\n<exch>NSE</exch>\n<pfId>99<", "no combined"),
        ("<date>20170526<", "<date>20170532<", "day is out of range"),
        ("<scanPointDef>", "<scanPoint>", "mismatched tag"),
        ("</spanFile>", "", "no element found"),
    ],
)
def test_a_file_that_is_not_whole_and_exact_is_refused_in_one_sentence(
    good: str, bad: str, fault: str, xml: str, tmp_path: Path
) -> None:
    assert good in xml
    with pytest.raises(SpanFileError, match=r"a\.spn is not a usable SPAN file: ") as refusal:
        read_span_file(written(tmp_path, xml.replace(good, bad, 1)))
    assert fault in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kept", [0, 10, 5000, -9, -1])
def test_a_truncated_or_damaged_archive_is_refused(kept: int, tmp_path: Path) -> None:
    torn = tmp_path / "a.spn.gz"
    torn.write_bytes(FILE.read_bytes()[:kept])
    with pytest.raises(SpanFileError, match=r"^a\.spn\.gz is not a usable SPAN file: "):
        read_span_file(torn)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_span_file(tmp_path / "none.spn")


def written(directory: Path, xml: str) -> Path:
    path = directory / "a.spn"
    path.write_text(xml)
    return path
