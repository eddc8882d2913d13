"""The codec against FIX text written by hand from the specifications, and against itself at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.orders import OrderType, Side, Validity
from domain.reports import (
    BandSet,
    CancelRejected,
    ExecType,
    ExecutionReport,
    MarketPhase,
    OrdStatus,
    Report,
    SessionPhase,
)
from exchange.fix.codec import CodecError, FixBody, FixVersion, decode, encode

V42, V50 = FixVersion.FIX42, FixVersion.FIX50SP2
AT = 1795507200_123456789  # 2026-11-24T08:00:00.123456789Z
AT_MS = 1795507200_123000000


def body(text: str) -> FixBody:
    """A body from `35=D|11=...` text."""
    pairs = [pair.partition("=") for pair in text.split("|")]
    fields = [(int(tag), value) for tag, _, value in pairs]
    assert fields[0][0] == 35
    return FixBody(fields[0][1], tuple(fields[1:]))


def report(**changes: object) -> ExecutionReport:
    facts: dict[str, object] = {
        "exec_id": "E7",
        "exec_type": ExecType.NEW,
        "ord_status": OrdStatus.NEW,
        "cl_ord_id": "261124000000001",
        "orig_cl_ord_id": None,
        "exchange_order_id": "1100000000000001",
        "symbol": "RELIANCE",
        "side": Side.BUY,
        "quantity": 100,
        "cumulative_quantity": 0,
        "leaves_quantity": 100,
        "last_quantity": 0,
        "last_price": 0,
        "price": 245050,
        "trigger_price": None,
        "stop": False,
        "reject_reason": None,
        "text": None,
        "transact_time_ns": AT_MS,
    }
    return ExecutionReport(**(facts | changes))  # type: ignore[arg-type]


LIMIT = NewOrder(
    "261124000000001",
    "DEMO0001",
    "RELIANCE",
    Side.BUY,
    100,
    OrderType.LIMIT,
    Validity.DAY,
    245050,
    None,
    AT_MS,
)
STOP = NewOrder(
    "261124000000002", "DEMO0001", "M&M", Side.SELL, 5, OrderType.SL_M, Validity.IOC, None, 300005, AT_MS
)
REPLACE = ReplaceOrder(
    "261124000000001-1",
    "261124000000001",
    "RELIANCE",
    Side.BUY,
    60,
    OrderType.SL,
    Validity.DAY,
    245100,
    245000,
    AT_MS,
)
TRADE = report(
    exec_id="T1",
    exec_type=ExecType.TRADE,
    ord_status=OrdStatus.PARTIALLY_FILLED,
    cumulative_quantity=40,
    leaves_quantity=60,
    last_quantity=40,
    last_price=245005,
)
BUST = report(
    exec_id="T2B",
    exec_type=ExecType.TRADE_CANCEL,
    cumulative_quantity=0,
    leaves_quantity=60,
    last_quantity=40,
    last_price=245005,
    reference_exec_id="T1",
)
CORRECTION = report(
    exec_id="T3B",
    exec_type=ExecType.TRADE_CORRECT,
    ord_status=OrdStatus.PARTIALLY_FILLED,
    cumulative_quantity=40,
    leaves_quantity=60,
    last_quantity=40,
    last_price=245000,
    reference_exec_id="T1",
)
CORE = "37=1100000000000001|11=261124000000001"
TERMS = "55=RELIANCE|54=1|38=100|40=2|44=2450.50"
WHEN_42 = "60=20261124-08:00:00.123"
WHEN_50 = "60=20261124-08:00:00.123000000"

GOLDENS = [
    (
        V42,
        LIMIT,
        f"35=D|11=261124000000001|1=DEMO0001|21=1|55=RELIANCE|54=1|{WHEN_42}|38=100|40=2|44=2450.50|59=0",
    ),
    (
        V50,
        LIMIT,
        f"35=D|11=261124000000001|1=DEMO0001|21=1|55=RELIANCE|54=1|{WHEN_50}|38=100|40=2|44=2450.50|59=0",
    ),
    (V42, STOP, f"35=D|11=261124000000002|1=DEMO0001|21=1|55=M&M|54=2|{WHEN_42}|38=5|40=3|99=3000.05|59=3"),
    (
        V50,
        CancelOrder("261124000000001-1", "261124000000001", "RELIANCE", Side.BUY, 100, AT),
        "35=F|41=261124000000001|11=261124000000001-1|55=RELIANCE|54=1|60=20261124-08:00:00.123456789|38=100",
    ),
    (
        V42,
        REPLACE,
        "35=G|41=261124000000001|11=261124000000001-1|21=1|55=RELIANCE|54=1"
        f"|{WHEN_42}|38=60|40=4|44=2451.00|99=2450.00|59=0",
    ),
    (
        V50,
        StatusRequest("261124000000001", "RELIANCE", Side.BUY),
        "35=H|11=261124000000001|55=RELIANCE|54=1",
    ),
    (V42, report(), f"35=8|{CORE}|17=E7|20=0|150=0|39=0|{TERMS}|151=100|14=0|6=0|{WHEN_42}"),
    (V50, report(), f"35=8|{CORE}|17=E7|150=0|39=0|{TERMS}|151=100|14=0|{WHEN_50}"),
    (V42, TRADE, f"35=8|{CORE}|17=T1|20=0|150=1|39=1|{TERMS}|32=40|31=2450.05|151=60|14=40|6=0|{WHEN_42}"),
    (V50, TRADE, f"35=8|{CORE}|17=T1|150=F|39=1|{TERMS}|32=40|31=2450.05|151=60|14=40|{WHEN_50}"),
    (
        V42,
        report(exec_type=ExecType.ORDER_STATUS),
        f"35=8|{CORE}|17=E7|20=3|150=0|39=0|{TERMS}|151=100|14=0|6=0|{WHEN_42}",
    ),
    (
        V42,
        report(exec_type=ExecType.TRIGGERED),
        f"35=8|{CORE}|17=E7|20=0|150=D|378=4|39=0|{TERMS}|151=100|14=0|6=0|{WHEN_42}",
    ),
    (
        V50,
        report(
            exec_type=ExecType.REJECTED,
            ord_status=OrdStatus.REJECTED,
            leaves_quantity=0,
            reject_reason=13,
            text="Quantity",
        ),
        f"35=8|{CORE}|17=E7|150=8|39=8|103=13|{TERMS}|151=0|14=0|{WHEN_50}|58=Quantity",
    ),
    (
        V42,
        CancelRejected("A-1", "A", "NONE", OrdStatus.FILLED, False, 0, "Too late"),
        "35=9|37=NONE|11=A-1|41=A|39=2|434=1|102=0|58=Too late",
    ),
    (
        V42,
        SessionPhase("NSE", "CASH", MarketPhase.CONTINUOUS, AT_MS),
        "35=h|336=NSE.CASH|340=2|341=20261124-08:00:00.123|58=CONTINUOUS",
    ),
    (
        V50,
        SessionPhase("BSE", "FO", MarketPhase.HALTED, AT),
        "35=h|1301=BSE|1300=FO|336=1|625=7|340=1|341=20261124-08:00:00.123456789|58=HALTED",
    ),
    (
        V42,
        SessionPhase("NSE", "CASH", MarketPhase.CLOSING_AUCTION, AT_MS, "CAS"),
        "35=h|336=NSE.CASH.CAS|340=5|341=20261124-08:00:00.123|58=CLOSING_AUCTION",
    ),
    (
        V50,
        SessionPhase("NSE", "FO", MarketPhase.PRE_OPEN_ENTRY, AT, "FRONT_FUTURE"),
        "35=h|1301=NSE|1300=FO|336=1|625=1|340=4|341=20261124-08:00:00.123456789|58=PRE_OPEN_ENTRY"
        "|1151=FRONT_FUTURE",
    ),
    (
        V42,
        SessionPhase("NSE", "CASH", MarketPhase.CLOSED, AT_MS, "CAS", AT_MS + 60 * 10**9),
        "35=h|336=NSE.CASH.CAS|340=3|341=20261124-08:00:00.123|342=20261124-08:01:00.123|58=CLOSED",
    ),
    (
        V50,
        SessionPhase("NSE", "CASH", MarketPhase.CLOSED, AT, "CAS", AT + 60 * 10**9),
        "35=h|1301=NSE|1300=CASH|336=1|625=7|340=3|341=20261124-08:00:00.123456789"
        "|342=20261124-08:01:00.123456789|58=CLOSED|1151=CAS",
    ),
    (
        V42,
        BandSet("NSE", "RELIANCE", 145650, 177020, AT_MS),
        "35=f|55=RELIANCE|207=NSE|325=Y|332=1770.20|333=1456.50|60=20261124-08:00:00.123",
    ),
    (
        V50,
        BandSet("NSE", "RELIANCE", 145650, 177020, AT),
        "35=f|55=RELIANCE|207=NSE|325=Y|332=1770.20|333=1456.50|60=20261124-08:00:00.123456789",
    ),
    (
        V42,
        report(exec_type=ExecType.RESTATED),
        f"35=8|{CORE}|17=E7|20=0|150=D|378=3|39=0|{TERMS}|151=100|14=0|6=0|{WHEN_42}",
    ),
    (
        V50,
        report(exec_type=ExecType.RESTATED),
        f"35=8|{CORE}|17=E7|150=D|378=3|39=0|{TERMS}|151=100|14=0|{WHEN_50}",
    ),
    (
        V42,
        BUST,
        f"35=8|{CORE}|17=T2B|19=T1|20=1|150=0|39=0|{TERMS}|32=40|31=2450.05|151=60|14=0|6=0|{WHEN_42}",
    ),
    (
        V50,
        BUST,
        f"35=8|{CORE}|17=T2B|19=T1|150=H|39=0|{TERMS}|32=40|31=2450.05|151=60|14=0|{WHEN_50}",
    ),
    (
        V42,
        CORRECTION,
        f"35=8|{CORE}|17=T3B|19=T1|20=2|150=1|39=1|{TERMS}|32=40|31=2450.00|151=60|14=40|6=0|{WHEN_42}",
    ),
]


@pytest.mark.parametrize(("version", "value", "text"), GOLDENS)
def test_each_message_is_written_as_the_specification_writes_it(
    version: FixVersion, value: Instruction | Report, text: str
) -> None:
    assert encode(value, version) == body(text)


@pytest.mark.parametrize(("version", "value", "text"), GOLDENS)
def test_each_message_is_read_as_the_specification_means_it(
    version: FixVersion, value: Instruction | Report, text: str
) -> None:
    assert decode(body(text), version) == value


@pytest.mark.parametrize(
    ("tag", "bad"),
    [
        (44, "2450.505"),
        (44, "1e5"),
        (44, "-1.00"),
        (44, "NaN"),
        (38, "1.5"),
        (38, "-1"),
        (38, "٣"),
        (54, "5"),
        (40, "P"),
        (59, "1"),
        (60, "20261324-08:00:00"),
        (60, "2026-11-24"),
        (11, ""),
    ],
)
def test_a_bad_field_is_refused_by_its_tag(tag: int, bad: str) -> None:
    good = body(GOLDENS[0][2])
    fields = tuple((t, bad if t == tag else v) for t, v in good.fields)
    with pytest.raises(CodecError) as error:
        decode(FixBody("D", fields), V42)
    assert error.value.tag == tag


def test_zeros_after_the_paisa_and_whole_decimal_quantities_are_read() -> None:
    good = body(GOLDENS[0][2])
    liberal = {44: "2450.5000", 38: "100.00"}
    assert decode(FixBody("D", tuple((t, liberal.get(t, v)) for t, v in good.fields)), V42) == LIMIT


def test_a_message_of_another_kind_is_refused_without_a_tag() -> None:
    with pytest.raises(CodecError) as error:
        decode(FixBody("AE", ()), V50)
    assert error.value.tag is None


def test_a_phase_that_contradicts_its_status_is_refused() -> None:
    with pytest.raises(CodecError, match="340"):
        decode(body("35=h|336=NSE.CASH|340=3|341=20261124-08:00:00|58=CONTINUOUS"), V42)


words = st.text("ABCXYZ0123456789-&", min_size=1, max_size=20)
prices = st.none() | st.integers(1, 10**12)
times = st.integers(0, 4 * 10**18)
quantities = st.integers(0, 10**9)
sides = st.sampled_from(Side)
sent_types = st.sampled_from(OrderType)
sent_validities = st.sampled_from([Validity.DAY, Validity.IOC])
orders = st.builds(
    NewOrder, words, words, words, sides, quantities, sent_types, sent_validities, prices, prices, times
)
replaces = st.builds(
    ReplaceOrder, words, words, words, sides, quantities, sent_types, sent_validities, prices, prices, times
)
cancels = st.builds(CancelOrder, words, words, words, sides, quantities, times)
rejects = st.builds(
    CancelRejected,
    words,
    words,
    words,
    st.sampled_from(OrdStatus),
    st.booleans(),
    st.none() | st.integers(0, 3),
    st.none() | words,
)
phases = st.builds(
    SessionPhase,
    st.sampled_from(["NSE", "BSE"]),
    st.sampled_from(["CASH", "FO"]),
    st.sampled_from(MarketPhase),
    times,
    st.none() | st.sampled_from(["CAS", "FRONT_FUTURE"]),
)
trades = st.builds(
    report,
    exec_id=words,
    exec_type=st.just(ExecType.TRADE),
    last_quantity=quantities,
    last_price=st.integers(1, 10**12),
    cumulative_quantity=quantities,
    leaves_quantity=quantities,
    ord_status=st.sampled_from(OrdStatus),
    reference_exec_id=st.none() | words,
    orig_cl_ord_id=st.none() | words,
    reject_reason=st.none() | st.integers(0, 8),
    transact_time_ns=times,
)


@given(st.one_of(orders, replaces, cancels, rejects, phases, trades))
def test_whatever_is_written_in_5_0_sp2_is_read_back_the_same(value: Instruction | Report) -> None:
    assert decode(encode(value, V50), V50) == value


@given(st.one_of(orders, replaces, cancels, rejects, phases, trades))
def test_whatever_is_written_in_4_2_is_read_back_the_same_but_for_parts_of_a_millisecond(
    value: Instruction | Report,
) -> None:
    first = decode(encode(value, V42), V42)
    assert decode(encode(first, V42), V42) == first
    assert encode(first, V42) == encode(value, V42)


@given(st.text(max_size=30))
def test_no_text_in_a_field_makes_anything_but_a_codec_error(text: str) -> None:
    for tag, _ in body(GOLDENS[6][2]).fields:
        fields = tuple((t, text if t == tag else v) for t, v in body(GOLDENS[6][2]).fields)
        try:
            decode(FixBody("8", fields), V42)
        except CodecError as error:
            assert error.tag is not None
