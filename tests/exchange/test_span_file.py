"""The reader against a small file in NSE Clearing's own layout, numbers copied by hand from its XML."""

from collections import Counter
from pathlib import Path

import pytest

from domain.span import ContractKey, ContractKind, ScanPoint, SpanParameters, Spread, SpreadLeg
from exchange.files.span_parser import SpanFileError, read_span_file
from exchange.simulator.clearing.span_document import span_document
from tests.support.span_text import BUSINESS_DATE, JUNE, MAY, span_text, write_span


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_span(tmp_path_factory.mktemp("span"))


@pytest.fixture(scope="module")
def span(file: Path) -> SpanParameters:
    return read_span_file(file)


@pytest.fixture(scope="module")
def xml() -> str:
    return span_text()


def test_every_risk_array_is_read(span: SpanParameters, xml: str) -> None:
    assert len(span.contracts) == xml.count("<ra>") == 9
    kinds = Counter(key.kind for key in span.contracts)
    assert kinds == {
        ContractKind.PHYSICAL: 2,
        ContractKind.FUTURE: 3,
        ContractKind.CALL: 2,
        ContractKind.PUT: 2,
    }
    assert sum(len(contract.losses) for contract in span.contracts.values()) == xml.count("<a>") == 144


def test_whose_file_it_is_and_of_which_day(span: SpanParameters) -> None:
    assert (span.clearing_organisation, span.exchange) == ("NSCCL", "NSE")
    assert (span.business_date, span.created) == (BUSINESS_DATE, "203105251931")


def test_a_future_is_read_to_the_last_digit(span: SpanParameters) -> None:
    future = span.contracts[ContractKey("GBPINR", ContractKind.FUTURE, MAY)]
    assert (future.portfolio, future.period, future.multiplier) == (2, "203105", 1000)
    assert (future.price, future.price_scan, future.volatility_scan) == (98_2600, 1850_00, 100_000)
    assert future.losses[:6] == (12_37, 12_37, -604_19, -604_19, 628_43, 628_43)
    assert future.losses[6:12] == (-1221_05, -1221_05, 1244_81, 1244_81, -1838_66, -1838_66)
    assert future.losses[12:] == (1861_52, 1861_52, -1287_93, 1301_07)
    assert (future.composite_delta, future.delta_scaling) == (1_000_000, 1_000_000)


def test_an_option_is_read_to_the_last_digit(span: SpanParameters) -> None:
    put = span.contracts[ContractKey("USDINR", ContractKind.PUT, JUNE, 75_2500)]
    assert (put.portfolio, put.period, put.price, put.price_scan) == (6, "203106", 3_6100, 875_00)
    assert put.losses[:8] == (-34_92, -6_73, 231_85, 268_04, -301_17, -285_31, 486_62, 541_98)
    assert put.losses[8:] == (-577_40, -565_13, 741_29, 819_07, -851_36, -842_20, 561_74, -588_09)
    assert put.composite_delta == -987_500
    assert span.commodity(put).code == "USDINR"


def test_the_underlying_has_its_price(span: SpanParameters) -> None:
    assert span.contracts[ContractKey("USDINR", ContractKind.PHYSICAL)].price == 70_9850


def test_the_scenarios_are_as_the_file_defines_them(span: SpanParameters) -> None:
    assert span.scenarios[0] == ScanPoint(0, 1_000_000, 1_000_000, paired=2)
    assert span.scenarios[4] == ScanPoint(-333_333, 1_000_000, 1_000_000, paired=6)
    assert span.scenarios[15] == ScanPoint(-3_000_000, 0, 300_000, paired=16)


def test_combined_commodities_have_their_spreads_and_floors(span: SpanParameters) -> None:
    pound, dollar = span.commodities["GBPINR"], span.commodities["USDINR"]
    assert (pound.group, pound.portfolios, pound.short_option_minimum) == ("ALL", (1, 2), 7350_00)
    assert (dollar.portfolios, dollar.short_option_minimum) == ((4, 5, 6), 0)
    near, far = SpreadLeg("GBPINR", "203105", "A", 1_000_000), SpreadLeg("GBPINR", "203106", "B", 1_000_000)
    assert pound.spreads == (Spread(1, 1625_00, (near, far)),)
    assert [spread.rate for spread in dollar.spreads] == [425_00, 1100_00]
    assert span.inter_commodity_spreads == ()


def test_it_survives_being_written_by_the_simulated_clearing_corporation(
    span: SpanParameters, tmp_path: Path
) -> None:
    again = tmp_path / "again.spn"
    again.write_bytes(span_document(span))
    assert read_span_file(again) == span


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
        ("<a>12.37</a>", "", "a risk array of GBPINR has 15 scenarios, not 16"),
        ("<a>12.37</a>", "<a>NaN</a>", "'NaN' is not a number with at most 2 decimals"),
        ("<a>12.37</a>", "<a>12.375</a>", "'12.375' is not a number with at most 2 decimals"),
        ("<cId>2</cId>\n<o>P</o>", "<cId>2</cId>\n<o>C</o>", "stands in it twice"),
        ("<o>P</o>", "<o>X</o>", "'X' is not a valid ContractKind"),
        ("<currency>INR</currency>\n<cvf>", "<currency>USD</currency>\n<cvf>", "is in USD, not in INR"),
        ("<pe>203105</pe>\n<p>", "<p>", "a <fut> has no <pe>"),
        ("<chargeMeth>F<", "<chargeMeth>W<", "a spread is charged by W"),
        ("<rs>B</rs>", "<rs>A</rs>", "two legs on opposite sides"),
        ("<pLeg>\n<cc>GBPINR<", "<pLeg>\n<cc>EURINR<", "a spread of GBPINR has a leg elsewhere"),
        ("<val>1625.000000<", "<val>-1625.000000<", "a <dSpread> has a negative <rate/val>"),
        ("<i>1.000000</i>\n</pLeg>", "<i>0.000000</i>\n</pLeg>", "a <pLeg> has a <i> that is not positive"),
        ("<p>0.4125</p>", "<p>-0.4125</p>", "a <opt> has a negative <p>"),
        ("</exchange>", "</exchange><exchange><exch>BSE</exch></exchange>", "it is not of one exchange"),
        (
            "<pfId>5</pfId>\n<pfCode>USDINR</pfCode>\n<pfType>FUT",
            "<pfId>2</pfId>\n<pfType>FUT",
            "two combined",
        ),
        ("<pairedPoint>2<", "<pairedPoint>17<", "paired with none"),
        ("<pfLink>\n<exch>NSE</exch>\n<pfId>1<", "<pfLink>\n<exch>NSE</exch>\n<pfId>99<", "no combined"),
        ("<date>20310526<", "<date>20310532<", "day is out of range"),
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


@pytest.mark.parametrize("kept", [0, 10, 1000, -9, -1])
def test_a_truncated_or_damaged_archive_is_refused(kept: int, file: Path, tmp_path: Path) -> None:
    torn = tmp_path / "a.spn.gz"
    torn.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(SpanFileError, match=r"^a\.spn\.gz is not a usable SPAN file: "):
        read_span_file(torn)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_span_file(tmp_path / "none.spn")


def written(directory: Path, xml: str) -> Path:
    path = directory / "a.spn"
    path.write_text(xml)
    return path
