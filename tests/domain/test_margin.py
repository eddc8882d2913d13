"""What a fill does to a hold: never more margin than was blocked, and a closed position leaves none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import InstrumentKind
from domain.margin import Hold, Use, unit_margin, use_of_fill
from domain.orders import Product, Side

KEY = "NSE:RELIANCE|MIS"


@given(
    opening=st.integers(0, 300),
    closing=st.integers(0, 300),
    extra=st.integers(0, 300),
    unit=st.integers(0, 10**6),
    margin=st.integers(0, 10**9),
    data=st.data(),
)
def test_fills_consume_a_hold_to_the_share_and_use_what_they_open(
    opening: int, closing: int, extra: int, unit: int, margin: int, data: st.DataObject
) -> None:
    net, at_start, left = closing + extra, opening * unit, opening + closing
    margin = margin if net else 0
    before = margin
    hold = Hold(Side.SELL, KEY, True, unit, opening, closing)
    opened = 0
    while left:
        quantity = data.draw(st.integers(1, left))
        use = use_of_fill(hold, quantity, data.draw(st.integers(0, unit)), net, margin, 0)
        assert use.open_quantity + use.close_quantity == use.quantity == quantity
        hold = Hold(
            Side.SELL,
            KEY,
            True,
            unit,
            hold.open_quantity - use.open_quantity,
            hold.close_quantity - use.close_quantity,
        )
        margin, net, left = margin + use.used, net - quantity, left - quantity
        opened += use.open_quantity
        assert margin >= 0
    assert (hold.open_quantity, hold.close_quantity, opened) == (0, 0, opening)
    assert margin <= before + at_start
    if not extra and not opening:
        assert margin == 0


def test_a_fill_beyond_its_hold_takes_what_there_is_and_counts_the_rest() -> None:
    hold = Hold(Side.BUY, KEY, True, 100, 2, 3)
    assert use_of_fill(hold, 6, 100, -3, 300, 0) == Use(2, 3, 0, 0, excess_quantity=1)


def test_a_sale_above_its_limit_uses_the_margin_of_its_price() -> None:
    hold = Hold(Side.SELL, KEY, True, 100, 5, 0)
    assert use_of_fill(hold, 5, 130, 0, 0, 0).used == 650


@pytest.mark.parametrize(
    ("kind", "product", "side", "margin"),
    [
        (InstrumentKind.EQUITY, Product.CNC, Side.BUY, 245_05),
        (InstrumentKind.ETF, Product.CNC, Side.SELL, 0),
        (InstrumentKind.EQUITY, Product.MIS, Side.BUY, 49_01),
        (InstrumentKind.EQUITY, Product.MIS, Side.SELL, 49_01),
        (InstrumentKind.EQUITY, Product.NRML, Side.BUY, None),
        (InstrumentKind.EQUITY, Product.NRML, Side.SELL, None),
        # An option bought is paid upfront, intraday too; the rest is its portfolio's.
        (InstrumentKind.OPTION, Product.NRML, Side.BUY, 245_05),
        (InstrumentKind.OPTION, Product.MIS, Side.BUY, 245_05),
        (InstrumentKind.OPTION, Product.NRML, Side.SELL, 0),
        (InstrumentKind.FUTURE, Product.NRML, Side.BUY, 0),
        (InstrumentKind.FUTURE, Product.MIS, Side.SELL, 0),
        (InstrumentKind.FUTURE, Product.CNC, Side.BUY, None),
        (InstrumentKind.OPTION, Product.CNC, Side.SELL, None),
    ],
)
def test_a_product_has_its_margin_or_it_is_not_known(
    kind: InstrumentKind, product: Product, side: Side, margin: int | None
) -> None:
    assert unit_margin(kind, product, side, 245_05, 20) == margin


@given(st.integers(1, 10**9), st.integers(1, 100))
def test_intraday_margin_is_rounded_against_the_client_by_less_than_a_paisa(price: int, percent: int) -> None:
    margin = unit_margin(InstrumentKind.EQUITY, Product.MIS, Side.BUY, price, percent)
    assert margin is not None
    assert 0 <= margin * 100 - price * percent < 100
