"""The gates: each bad thing has its own code, field, limit and nearest legal value."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import InstrumentKind, Segment
from domain.orders import OrderType, Product, Side, Validity
from domain.rejects import RejectCode
from domain.validation import terms_refusals
from tests.support.builders import an_instrument, some_terms

TODAY = date(2026, 11, 23)


def test_good_terms_pass_every_gate() -> None:
    assert terms_refusals(some_terms(), an_instrument(), TODAY) == []
    market = some_terms(order_type=OrderType.MARKET, price=None, product=Product.MIS)
    assert terms_refusals(market, an_instrument(), TODAY) == []


@pytest.mark.parametrize(
    ("changes", "code", "limit", "nearest"),
    [
        ({"quantity": 0}, "QUANTITY_NOT_POSITIVE", None, "1"),
        ({"quantity": -5}, "QUANTITY_NOT_POSITIVE", None, "1"),
        ({"quantity": 10**12}, "QUANTITY_ABOVE_FREEZE", "15000", "15000"),
        ({"price": 245055}, "PRICE_NOT_TICK_MULTIPLE", "0.10", "2450.60"),
        ({"price": 220490}, "PRICE_OUT_OF_BAND", "2205.00 to 2695.00", "2205.00"),
        ({"price": 269510}, "PRICE_OUT_OF_BAND", "2205.00 to 2695.00", "2695.00"),
        ({"price": 0}, "PRICE_NOT_POSITIVE", None, "2205.00"),
        ({"price": None}, "PRICE_REQUIRED", None, None),
        ({"order_type": OrderType.MARKET}, "PRICE_NOT_ALLOWED", None, None),
        ({"trigger_price": 245000}, "TRIGGER_PRICE_NOT_ALLOWED", None, None),
        ({"product": Product.NRML}, "PRODUCT_NOT_ALLOWED", "CNC, MIS", None),
        ({"validity": Validity.GTT}, "VALIDITY_NOT_SUPPORTED", "DAY, IOC", None),
        (
            {"market_protection": 100},
            "MARKET_PROTECTION_OUT_OF_RANGE",
            "0.01 to 100 percent, for MARKET and SL-M",
            None,
        ),
    ],
)
def test_one_fault_gives_one_refusal(
    changes: dict[str, Any], code: str, limit: str | None, nearest: str | None
) -> None:
    [refusal] = terms_refusals(some_terms(**changes), an_instrument(), TODAY)
    assert (refusal.code.value, refusal.limit, refusal.nearest) == (code, limit, nearest)


def test_a_stop_is_told_every_fault_at_once() -> None:
    terms = some_terms(order_type=OrderType.SL, trigger_price=246003, quantity=0)
    codes = [refusal.code for refusal in terms_refusals(terms, an_instrument(), TODAY)]
    assert codes == [
        RejectCode.QUANTITY_NOT_POSITIVE,
        RejectCode.TRIGGER_PRICE_NOT_TICK_MULTIPLE,
        RejectCode.TRIGGER_PRICE_WRONG_SIDE,
    ]
    assert codes == sorted(codes, key=list(RejectCode).index)


def test_what_is_not_known_is_refused() -> None:
    assert terms_refusals(some_terms(), None, TODAY)[0].code is RejectCode.INSTRUMENT_UNKNOWN
    index = an_instrument(kind=InstrumentKind.INDEX)
    assert terms_refusals(some_terms(), index, TODAY)[0].code is RejectCode.INSTRUMENT_NOT_TRADABLE
    gone = an_instrument(expiry=date(2026, 11, 20))
    assert terms_refusals(some_terms(), gone, TODAY)[0].code is RejectCode.INSTRUMENT_EXPIRED


@pytest.mark.parametrize("kind", [InstrumentKind.FUTURE, InstrumentKind.OPTION])
def test_a_derivative_is_carried_or_intraday_and_never_delivered(kind: InstrumentKind) -> None:
    contract = an_instrument(segment=Segment.FO, kind=kind)
    for product in (Product.NRML, Product.MIS):
        assert terms_refusals(some_terms(product=product), contract, TODAY) == []
    (refused,) = terms_refusals(some_terms(product=Product.CNC), contract, TODAY)
    assert (refused.code, refused.limit) == (RejectCode.PRODUCT_NOT_ALLOWED, "MIS, NRML")


@given(price=st.integers(-(10**6), 10**7), side=st.sampled_from(Side))
def test_the_nearest_price_offered_is_itself_legal_or_at_a_bound(price: int, side: Side) -> None:
    instrument = an_instrument()
    refusals = terms_refusals(some_terms(price=price, side=side), instrument, TODAY)
    legal = price % instrument.tick_size == 0 and instrument.lower_band <= price <= instrument.upper_band
    assert bool(refusals) is not legal
