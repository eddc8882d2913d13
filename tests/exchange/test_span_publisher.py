"""The simulated clearing corporation: its file reads back exactly, and its numbers are the model's."""

import os
from datetime import date, datetime
from math import exp
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.rules import exposure_rates
from domain.portfolio_margin import MarginBreakdown, MarginedPosition, MarginParameters, portfolio_margin
from domain.span import MILLION, ContractKind, Spread, SpreadLeg, contract_key
from domain.time import IST, NANOS, trade_date
from exchange.files.master import read_master
from exchange.files.span_directory import span_path
from exchange.files.span_parser import read_span_file
from exchange.simulator.clearing.option_model import European
from exchange.simulator.clearing.span_document import span_document
from exchange.simulator.clearing.span_publisher import publish_span, span_parameters
from tests.support.contracts import front_future
from tests.support.derivatives import (
    FAR,
    NEAR,
    a_commodity,
    a_contract,
    calendar_spread,
    future,
    some_parameters,
)


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


NOW = at("2026-11-24 08:00")
NSE = read_master("NSE", trade_date(NOW))
FRONT = NSE[front_future("NIFTY 50", trade_date(NOW))]
PUBLISHED = span_parameters("NSE", NSE, NOW)
assert PUBLISHED is not None
PARAMETERS = MarginParameters(PUBLISHED, exposure_rates(PUBLISHED.business_date))
CONTRACTS = list(PUBLISHED.contracts.values())
TRADED = [contract.key for contract in CONTRACTS if contract.key.kind is not ContractKind.PHYSICAL]
EXPIRIES = sorted({key.expiry for key in TRADED if key.expiry})
LATER = [expiry for expiry in EXPIRIES if expiry >= date(2026, 12, 29)]
OPTIONS = [contract for contract in CONTRACTS if contract.key.kind.is_option]


def margin(positions: list[MarginedPosition]) -> MarginBreakdown:
    held = portfolio_margin(positions, PARAMETERS)
    assert held is not None
    return held


def test_the_file_of_the_day_reads_back_exactly(tmp_path: Path) -> None:
    path = publish_span("NSE", NSE, tmp_path, NOW)
    assert path == tmp_path / "exchange-NSE-span-20261124.spn"
    assert read_span_file(path) == PUBLISHED
    assert list(tmp_path.iterdir()) == [path]


def test_every_future_and_option_of_the_master_has_its_array() -> None:
    derivatives = {contract_key(instrument) for instrument in NSE.values()} - {None}
    assert derivatives == set(TRADED)
    # Of each of the 96 models three months, and of the index's 20 options three weeks.
    assert len(TRADED) == 3 * 96 + 3 * 20


def test_spreads_within_and_between_commodities_survive_too(tmp_path: Path) -> None:
    legs = SpreadLeg("ALPHA", None, "A", MILLION), SpreadLeg("BETA", None, "B", 1_300_000)
    keys = [future("ALPHA", NEAR), future("ALPHA", FAR), future("BETA", NEAR)]
    alpha = a_commodity("ALPHA", spreads=(calendar_spread("ALPHA", 20_00),), short_option_minimum=50_01)
    contracts = [a_contract(key) for key in keys]
    span = some_parameters(contracts, [alpha, a_commodity("BETA")], (Spread(1, 650_000, legs),)).span
    path = tmp_path / "a.spn"
    path.write_bytes(span_document(span))
    assert read_span_file(path) == span


def test_an_index_future_moves_by_its_scan_range_to_the_paisa() -> None:
    contract = next(c for c in CONTRACTS if c.key == contract_key(FRONT))
    # 9.3% of 25,938.85 is 2,412.31; the extremes are 2 ranges at 35%.
    assert (contract.price, contract.price_scan) == (26118_8000, 2412_31)
    assert contract.losses[:6] == (0, 0, -804_10, -804_10, 804_10, 804_10)
    assert contract.losses[10:] == (-2412_31, -2412_31, 2412_31, 2412_31, -1688_62, 1688_62)


def test_a_lot_of_the_index_needs_what_such_a_lot_needs() -> None:
    nifty = contract_key(FRONT)
    assert nifty is not None
    held = margin([MarginedPosition(nifty, 65)])
    # 65 x 2,412.31, and 2% of 65 x 26,118.80
    assert (held.span, held.exposure) == (156800_15, 33954_44)


def test_an_option_bought_needs_no_margin_and_one_sold_at_least_its_floor_and_value() -> None:
    for contract in OPTIONS:
        assert max(contract.losses) <= contract.price // 100
        assert margin([MarginedPosition(contract.key, 1)]).total == 0
        floor = PUBLISHED.commodity(contract).short_option_minimum if PUBLISHED else 0
        assert margin([MarginedPosition(contract.key, -1)]).span >= floor + contract.price // 100 > floor > 0


def test_only_what_has_not_expired_is_published(tmp_path: Path) -> None:
    on_the_day = span_parameters("NSE", NSE, at("2026-12-29 08:00"))
    assert on_the_day is not None
    assert {key.expiry for key in on_the_day.contracts} == {None, *LATER}
    assert publish_span("NSE", NSE, tmp_path, at("2027-02-24 08:00")) is None
    assert publish_span("BSE", read_master("BSE"), tmp_path, NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_last_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish_span("NSE", NSE, tmp_path, NOW)

    def full(descriptor: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        publish_span("NSE", NSE, tmp_path, NOW + 60 * NANOS)
    assert path == span_path(tmp_path, "NSE", PARAMETERS.span.business_date)
    assert read_span_file(path) == PUBLISHED


@settings(deadline=None)
@given(expiry=st.sampled_from(EXPIRIES), data=st.data())
def test_within_an_expiry_a_hedge_never_costs_more_than_its_legs_apart(
    expiry: date, data: st.DataObject
) -> None:
    keys = st.sampled_from([key for key in TRADED if key.expiry == expiry])
    legs = st.lists(st.builds(MarginedPosition, keys, st.integers(-9, 9)), max_size=8)
    one, other = data.draw(legs), data.draw(legs)
    assert margin(one + other).total <= margin(one).total + margin(other).total


def an_option(
    is_call: bool = True,
    forward: float = 100.0,
    strike: float = 100.0,
    years: float = 1.0,
    volatility: float = 0.2,
) -> European:
    return European(is_call, forward, strike, years, volatility, interest=0.05)


def test_the_model_agrees_with_values_from_the_tables() -> None:
    # N(0.1) = 0.539828: 100 (2 N(0.1) - 1) e^-0.05 = 7.577 at the money, either way.
    assert an_option().value() == pytest.approx(7.5770, abs=1e-4)
    assert an_option(is_call=False).value() == pytest.approx(7.5770, abs=1e-4)
    # d1 = ln(1.1) / 0.2 + 0.1 = 0.576551, d2 = 0.376551: N = 0.717877 and 0.646747.
    assert an_option(forward=110.0).value() == pytest.approx(
        exp(-0.05) * (110 * 0.717877 - 100 * 0.646747), abs=1e-3
    )
    assert an_option(forward=110.0).delta() == pytest.approx(exp(-0.05) * 0.717877, abs=1e-5)
    assert an_option(years=0.0, forward=110.0).value() == pytest.approx(10.0)
    assert an_option(years=0.0, is_call=False, forward=110.0).value() == 0.0


STATES = {
    "forward": st.floats(1, 1000),
    "strike": st.floats(1, 1000),
    "years": st.floats(1 / 365, 3),
    "volatility": st.floats(0.02, 2),
}


@given(**STATES)
def test_calls_and_puts_are_in_parity(forward: float, strike: float, years: float, volatility: float) -> None:
    call, put = (an_option(is_call, forward, strike, years, volatility) for is_call in (True, False))
    assert call.value() - put.value() == pytest.approx(exp(-0.05 * years) * (forward - strike), abs=1e-6)


@settings(deadline=None)
@given(is_call=st.booleans(), **STATES)
def test_the_volatility_a_price_implies_gives_the_price_again(
    is_call: bool, forward: float, strike: float, years: float, volatility: float
) -> None:
    price = an_option(is_call, forward, strike, years, volatility).value()
    assert an_option(is_call, forward, strike, years).implied(price).value() == pytest.approx(price, abs=1e-4)
