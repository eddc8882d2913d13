"""Amounts are exact at the edge, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import ceil_div, paise, round_half_up, rupees


@given(st.integers(-(10**14), 10**14))
def test_an_amount_survives_the_way_out_and_back(amount: int) -> None:
    assert paise(rupees(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2450.50", 245050), ("2450.5", 245050), ("0.01", 1), ("7", 700), ("7.1000", 710), ("-3.05", -305)],
)
def test_plain_decimals_are_read_exactly(text: str, amount: int) -> None:
    assert paise(text) == amount


@pytest.mark.parametrize(
    "text", ["", ".", "1.005", "1e3", "NaN", "inf", "+1", "1,000", " 1", "1 ", "٣", "1.", ".5", "9" * 14]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        paise(text)


def test_rounding_says_its_direction() -> None:
    assert ceil_div(7, 2) == 4
    assert ceil_div(-7, 2) == -3
    assert round_half_up(5, 2) == 3
    assert round_half_up(-5, 2) == -3
    assert round_half_up(4, 3) == 1
