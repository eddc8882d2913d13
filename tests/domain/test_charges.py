"""The charges of a trade on hand-computed cases of the card of 1 April 2026, and under any trades."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.rules import charge_rates
from domain.charges import Charges, TradeKind, depository_charge, trade_charges, trade_kind
from domain.instruments import InstrumentKind
from domain.orders import Product, Side

CARD = charge_rates(date(2026, 11, 24))
NAMES = ("brokerage", "stt", "exchange", "ipft", "sebi", "stamp", "gst")
KINDS = st.sampled_from(sorted(CARD))
SIDES = st.sampled_from(Side)
TURNOVERS = st.integers(1, 10**12)


@pytest.mark.parametrize(
    ("exchange", "kind", "side", "turnover", "lines", "total"),
    [
        # 100 shares at 2,450.50
        ("NSE", "DELIVERY", "BUY", 245050_00, (0, 245_00, 7_28, 25, 25, 36_76, 1_35), 290_89),
        # 65 of the index at 24,000; brokerage is capped
        ("NSE", "FUTURES", "SELL", 1560000_00, (20_00, 780_00, 26_99, 1_56, 1_56, 0, 8_74), 838_85),
        # 65 at a premium of 200: STT of 19.50 goes up, IPFT of 0.065 too
        ("NSE", "OPTIONS", "SELL", 13000_00, (20_00, 20_00, 4_55, 7, 1, 0, 4_42), 49_05),
        ("NSE", "OPTIONS", "BUY", 13000_00, (20_00, 0, 4_55, 7, 1, 39, 4_42), 29_44),
        # 10 shares at 100.05, closed the same day: brokerage by the rate
        ("NSE", "INTRADAY", "BUY", 1000_50, (30, 0, 3, 0, 0, 3, 6), 42),
        # 50 shares at 1,000 at the other exchange
        ("BSE", "DELIVERY", "SELL", 50000_00, (0, 50_00, 1_88, 0, 5, 0, 35), 52_28),
        ("BSE", "FUTURES", "SELL", 1560000_00, (20_00, 780_00, 0, 0, 1_56, 0, 3_88), 805_44),
    ],
)
def test_each_line_is_exact_to_the_paisa(
    exchange: str, kind: str, side: str, turnover: int, lines: tuple[int, ...], total: int
) -> None:
    charges = trade_charges(Side(side), turnover, CARD[exchange, TradeKind(kind)])
    assert charges == Charges(**dict(zip(NAMES, lines, strict=True)))
    assert charges.total == total


@pytest.mark.parametrize(
    ("kind", "product", "column"),
    [
        (InstrumentKind.EQUITY, Product.CNC, TradeKind.DELIVERY),
        (InstrumentKind.ETF, Product.CNC, TradeKind.DELIVERY),
        (InstrumentKind.EQUITY, Product.MIS, TradeKind.INTRADAY),
        (InstrumentKind.FUTURE, Product.NRML, TradeKind.FUTURES),
        (InstrumentKind.FUTURE, Product.MIS, TradeKind.FUTURES),
        (InstrumentKind.OPTION, Product.NRML, TradeKind.OPTIONS),
    ],
)
def test_what_is_traded_and_how_says_the_column(
    kind: InstrumentKind, product: Product, column: TradeKind
) -> None:
    assert trade_kind(kind, product) is column


def test_the_depository_charges_each_isin_once_a_day() -> None:
    rates = CARD["NSE", TradeKind.DELIVERY]
    assert depository_charge(["INE002A01018", "INE467B01029", "INE002A01018"], rates) == 30_68
    assert depository_charge([], rates) == 0
    assert depository_charge(["INE002A01018"], CARD["NSE", TradeKind.INTRADAY]) == 0


@given(key=KINDS, side=SIDES, parts=st.lists(TURNOVERS, min_size=1, max_size=8))
def test_an_order_pays_the_same_brokerage_in_one_trade_or_in_many(
    key: tuple[str, TradeKind], side: Side, parts: list[int]
) -> None:
    rates = CARD[key]
    paid = [
        trade_charges(side, part, rates, turnover_before=sum(parts[:place])).brokerage
        for place, part in enumerate(parts)
    ]
    assert sum(paid) == trade_charges(side, sum(parts), rates).brokerage <= rates.brokerage_most
    assert min(paid) >= 0


@given(key=KINDS, side=SIDES, turnover=TURNOVERS, more=TURNOVERS)
def test_a_larger_trade_never_costs_less_and_stt_is_whole_rupees(
    key: tuple[str, TradeKind], side: Side, turnover: int, more: int
) -> None:
    smaller = trade_charges(side, turnover, CARD[key])
    larger = trade_charges(side, turnover + more, CARD[key])
    assert all(getattr(smaller, name) <= getattr(larger, name) for name in NAMES)
    assert smaller.stt % 100 == 0


@given(key=KINDS, side=SIDES, turnover=TURNOVERS)
def test_no_line_is_further_than_half_its_unit_from_the_exact_amount(
    key: tuple[str, TradeKind], side: Side, turnover: int
) -> None:
    rates, charges = CARD[key], trade_charges(side, turnover, CARD[key])
    percent = 10**7
    for line, rate in (
        (charges.exchange, rates.exchange),
        (charges.ipft, rates.ipft),
        (charges.sebi, rates.sebi),
    ):
        assert 2 * abs(line * percent - turnover * rate) <= percent
    fees = turnover * (rates.exchange + rates.sebi) * 18
    assert 2 * abs(charges.gst * percent * 100 - (charges.brokerage * percent * 18 + fees)) <= percent * 100
