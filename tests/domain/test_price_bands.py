"""Bands and limit price protection by the rules of 2026: fixed, pressed, cooled, flexed, and refused."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.rules import band_rules, protection_rules
from domain.instruments import InstrumentKind
from domain.orders import Side
from domain.price_bands import (
    Pressure,
    PriceBand,
    PriceLimits,
    Print,
    band_after,
    fixed_band,
    is_cancelled_by_band,
    is_protected_against,
    protection_limits,
    protection_refusal,
    reference_price,
)
from domain.rejects import RejectCode
from domain.time import NANOS
from tests.support.builders import an_instrument, some_terms

TODAY = date(2026, 11, 24)
RULES, PROTECTION = band_rules(TODAY), protection_rules(TODAY)
BAND = fixed_band(1000_00, RULES.width)
MINUTE = 60 * NANOS
PRESSED = Pressure(Side.BUY, 1099_00, trades=50, clients=10, members=3)
"""Just enough: at 9.90%."""


@pytest.mark.parametrize(
    ("close", "width", "tick", "limits"),
    [
        (1000_00, 1000, 10, (900_00, 1100_00)),
        # 1461.20 less and more 10% is 1315.08 and 1607.32
        (1461_20, 1000, 10, (1315_10, 1607_30)),
        (100_03, 500, 5, (95_05, 105_00)),
        (5, 200, 1, (5, 5)),
        (3, 2000, 5, (5, 0)),
    ],
)
def test_limits_lie_on_the_tick_inside_the_band(
    close: int, width: int, tick: int, limits: tuple[int, int]
) -> None:
    assert fixed_band(close, width).limits(tick) == PriceLimits(*limits)


def test_a_band_pressed_upwards_cools_for_a_quarter_of_an_hour_and_slides_up() -> None:
    cooling = band_after(BAND, PRESSED, 0, RULES)
    assert (cooling.flex_due_ns, cooling.limits(10)) == (15 * MINUTE, BAND.limits(10))
    assert band_after(cooling, PRESSED, 15 * MINUTE - 1, RULES) == cooling
    flexed = band_after(cooling, None, 15 * MINUTE, RULES)
    assert flexed == PriceBand(1000_00, down=500, up=1500)
    assert flexed.limits(10) == PriceLimits(950_00, 1150_00)
    # The new end is 15%: 9.90% presses no more, 14.90% does.
    assert band_after(flexed, PRESSED, 20 * MINUTE, RULES) == flexed
    again = band_after(flexed, replace(PRESSED, price=1149_00), 20 * MINUTE, RULES)
    assert again.flex_due_ns == 35 * MINUTE


def test_a_band_pressed_downwards_slides_down() -> None:
    down = replace(PRESSED, side=Side.SELL, price=901_00)
    flexed = band_after(band_after(BAND, down, 0, RULES), None, 15 * MINUTE, RULES)
    assert flexed.limits(10) == PriceLimits(850_00, 1050_00)


@pytest.mark.parametrize(
    "less",
    [{"price": 1098_99}, {"trades": 49}, {"clients": 9}, {"members": 2}, {"side": Side.SELL}],
)
def test_less_pressure_moves_nothing(less: dict[str, int]) -> None:
    assert band_after(BAND, replace(PRESSED, **less), 0, RULES) == BAND  # type: ignore[arg-type]


def test_limit_orders_fall_with_the_band_and_stops_only_when_triggered() -> None:
    limits = PriceLimits(950_00, 1150_00)
    assert is_cancelled_by_band(920_00, limits, waits_for_trigger=False)
    assert not is_cancelled_by_band(920_00, limits, waits_for_trigger=True)
    assert not is_cancelled_by_band(950_00, limits, waits_for_trigger=False)


@pytest.mark.parametrize(
    ("kind", "reference", "low", "high"),
    [
        (InstrumentKind.OPTION, 50_00, 30_00, 70_00),
        (InstrumentKind.OPTION, 12_00, 5, 32_00),
        (InstrumentKind.OPTION, 50_05, 30_05, 70_05),
        (InstrumentKind.OPTION, 200_00, 120_00, 280_00),
        (InstrumentKind.FUTURE, 24000_00, 23280_00, 24720_00),
    ],
)
def test_protection_is_as_wide_as_its_kind_and_reference_say(
    kind: InstrumentKind, reference: int, low: int, high: int
) -> None:
    limits = protection_limits(kind, reference, 5, PROTECTION)
    assert limits == PriceLimits(low, high)
    assert is_protected_against(Side.BUY, high + 5, limits)
    assert not is_protected_against(Side.BUY, low - 5, limits)
    assert is_protected_against(Side.SELL, low - 5, limits)
    assert not is_protected_against(Side.SELL, high + 5, limits)


def test_shares_have_bands_and_no_protection() -> None:
    assert protection_limits(InstrumentKind.EQUITY, 1000_00, 10, PROTECTION) is None


def test_the_reference_is_the_average_of_the_last_thirty_seconds() -> None:
    window = PROTECTION[0].window_ns
    now = 100 * NANOS
    prints = [
        Print(now - window, 10_00, 1000),
        Print(now - window + 1, 100_00, 3),
        Print(now, 104_00, 1),
        Print(now + 1, 500_00, 1000),
    ]
    assert reference_price(prints, now, window) == 101_00
    assert reference_price(prints[:1], now, window) is None


@given(
    close=st.integers(1, 10**8), width=st.integers(1, 4000), tick=st.sampled_from([1, 5, 10, 50, 100, 500])
)
def test_no_price_within_the_limits_is_outside_the_exact_band(close: int, width: int, tick: int) -> None:
    limits = fixed_band(close, width).limits(tick)
    assert limits.low % tick == limits.high % tick == 0
    assert limits.high * 10_000 <= close * (10_000 + width) < (limits.high + tick) * 10_000
    assert (
        limits.low == tick or (limits.low - tick) * 10_000 < close * (10_000 - width) <= limits.low * 10_000
    )


@pytest.mark.parametrize(
    ("kind", "side", "price", "nearest"),
    [
        (InstrumentKind.FUTURE, Side.BUY, 1030_00, None),
        (InstrumentKind.FUTURE, Side.BUY, 1030_10, "1030.00"),
        (InstrumentKind.FUTURE, Side.SELL, 970_00, None),
        (InstrumentKind.FUTURE, Side.SELL, 969_90, "970.00"),
        # Away from the market an order may be priced as it likes.
        (InstrumentKind.FUTURE, Side.BUY, 900_00, None),
        (InstrumentKind.OPTION, Side.BUY, 1400_10, "1100.00"),
        (InstrumentKind.EQUITY, Side.BUY, 2000_00, None),
    ],
)
def test_limit_price_protection_names_the_nearest_price_that_is_taken(
    kind: InstrumentKind, side: Side, price: int, nearest: str | None
) -> None:
    instrument = an_instrument(kind=kind, lower_band=900_00, upper_band=1100_00)
    refusal = protection_refusal(some_terms(side=side, price=price), instrument, 1000_00, PROTECTION)
    assert (refusal.nearest if refusal else None) == nearest
    assert refusal is None or refusal.code is RejectCode.PRICE_BEYOND_PROTECTION
