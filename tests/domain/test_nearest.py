"""What a refusal offers is legal: whoever sends it is not refused for that field again."""

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.changes import Change, change_refusals
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.money import paise
from domain.nearest import agreed
from domain.orders import OrderTerms, OrderType, Product, Side
from domain.price_bands import ProtectionRule, protection_refusal
from domain.rejects import Refusal, RejectCode
from domain.validation import terms_refusals
from tests.support.builders import an_instrument, some_terms

TODAY = date(2026, 11, 23)
PROTECTION = [ProtectionRule(InstrumentKind.FUTURE, None, None, 300, 0)]
VALUES: dict[str, Any] = {"price": paise, "trigger_price": paise, "quantity": int}
LIMIT = RejectCode.PRICE_BEYOND_PROTECTION


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    """Bands need not lie on the tick, and the freeze quantity on no lot: masters differ."""
    low = draw(st.integers(1, 5_000))
    return an_instrument(
        kind=InstrumentKind.FUTURE,
        segment=Segment.FO,
        tick_size=draw(st.sampled_from([1, 5, 10, 25, 100])),
        lot_size=draw(st.sampled_from([1, 15, 50, 75])),
        freeze_quantity=draw(st.integers(40, 2_000)),
        lower_band=low,
        upper_band=low + draw(st.integers(0, 3_000)),
    )


@st.composite
def orders(draw: st.DrawFn) -> OrderTerms:
    order_type = draw(st.sampled_from([OrderType.LIMIT, OrderType.SL, OrderType.SL_M]))
    prices = st.integers(-50, 9_000)
    return some_terms(
        order_type=order_type,
        side=draw(st.sampled_from(Side)),
        product=Product.NRML,
        quantity=draw(st.integers(-100, 60_000)),
        price=None if order_type is OrderType.SL_M else draw(prices),
        trigger_price=None if order_type is OrderType.LIMIT else draw(prices),
    )


def mended(terms: OrderTerms, refusals: list[Refusal]) -> OrderTerms | None:
    """With every value that was offered; None where a gate that could offer one says that there is none."""
    offers: dict[str, set[str | None]] = {}
    for refusal in refusals:
        if refusal.field in VALUES:
            offers.setdefault(refusal.field, set()).add(refusal.nearest)
    assert all(len(offer) == 1 for offer in offers.values()), "two refusals of a field offer two values"
    values = {field: offer.pop() for field, offer in offers.items()}
    if None in values.values():
        return None
    return replace(terms, **{field: VALUES[field](value) for field, value in values.items()})


def nothing_is_legal(instrument: Instrument) -> bool:
    tick, lot = instrument.tick_size, instrument.lot_size
    in_band = instrument.upper_band // tick * tick >= max(instrument.lower_band, tick)
    return not in_band or instrument.freeze_quantity < lot


@given(terms=orders(), instrument=instruments(), sliced=st.booleans())
def test_an_order_with_all_that_was_offered_is_taken(
    terms: OrderTerms, instrument: Instrument, sliced: bool
) -> None:
    refusals = terms_refusals(terms, instrument, TODAY, sliced=sliced)
    better = mended(terms, refusals)
    if better is None:
        assert nothing_is_legal(instrument)
        return
    assert terms_refusals(better, instrument, TODAY, sliced=sliced) == []


@given(terms=orders(), instrument=instruments(), last=st.integers(1, 9_000))
def test_so_it_is_where_the_last_trades_protect_as_well(
    terms: OrderTerms, instrument: Instrument, last: int
) -> None:
    def refused(terms: OrderTerms) -> list[Refusal]:
        found = terms_refusals(terms, instrument, TODAY)
        if terms.order_type is not OrderType.LIMIT:
            return found
        beyond = protection_refusal(terms, instrument, last, PROTECTION)
        return agreed([*found, beyond] if beyond else found)

    refusals = refused(terms)
    better = mended(terms, refusals)
    if better is None:
        # Nothing between the protection and the band is a fact of the day.
        assert nothing_is_legal(instrument) or LIMIT in {refusal.code for refusal in refusals}
        return
    left = {refusal.code for refusal in refused(better)} - {LIMIT}
    assert not left
    if LIMIT in {refusal.code for refusal in refusals}:
        assert refused(better) == []


@given(terms=orders(), instrument=instruments(), filled=st.integers(0, 3_000), asked=st.integers(-10, 3_000))
def test_a_change_is_offered_what_is_not_filled_yet(
    terms: OrderTerms, instrument: Instrument, filled: int, asked: int
) -> None:
    change = Change(quantity=asked)
    refusals = change_refusals(terms, change, filled, 0, instrument, TODAY)
    offered = {refusal.nearest for refusal in refusals if refusal.field == "quantity"}
    assert len(offered) <= 1
    for quantity in offered - {None}:
        again = Change(quantity=int(quantity or 0))
        left = change_refusals(terms, again, filled, 0, instrument, TODAY)
        assert "quantity" not in {refusal.field for refusal in left}


def test_a_price_above_the_band_and_off_the_tick_is_offered_the_band_s_end() -> None:
    """Reliance at 1693.75 was told 1693.80, above the band's 1693.70."""
    reliance = an_instrument(lower_band=1385_90, upper_band=1693_70)
    refusals = terms_refusals(some_terms(price=1693_75), reliance, TODAY)
    assert {refusal.nearest for refusal in refusals} == {"1693.70"}
    assert {refusal.code.value for refusal in refusals} == {"PRICE_NOT_TICK_MULTIPLE", "PRICE_OUT_OF_BAND"}


def test_what_no_gate_would_take_is_not_offered() -> None:
    narrow = an_instrument(lower_band=1001, upper_band=1009)
    assert [r.nearest for r in terms_refusals(some_terms(price=1005), narrow, TODAY)] == [None]
    none_fits = an_instrument(lot_size=100, freeze_quantity=50)
    assert [r.nearest for r in terms_refusals(some_terms(quantity=100), none_fits, TODAY) if r.field] == [
        None
    ]
