"""Series that roll: the same promises on whatever day the market is opened, years from now as well."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.instrument_master import instruments_of, next_roll
from config.sessions import session_rules
from domain.instruments import Instrument, InstrumentKind
from domain.series import ListingRule, expiries
from domain.sessions import SessionClass, session_classes
from domain.span import contract_key
from domain.time import ist_ns
from exchange.simulator.clearing.span_publisher import span_parameters
from tests.support.contracts import front_future, front_option, futures_of

CALENDAR = session_rules().calendar
MONTHLY = ListingRule("NSE", False, "*", 1, 3)
WEEKLY = ListingRule("NSE", True, "NSE:NIFTY 50", 1, 3)
LATER = [date(2027, 3, 15), date(2028, 1, 2)]
LISTED = {row.instrument_id: row for row in instruments_of(date(2026, 12, 1))}


def days(texts: str) -> list[date]:
    return [date.fromisoformat(text) for text in texts.split()]


@pytest.mark.parametrize(
    ("day", "months", "weeks"),
    [
        # 24 November 2026 is a holiday: the month ends on the Monday before.
        ("2026-11-20", "2026-11-23 2026-12-29 2027-01-25", "2026-12-01 2026-12-08 2026-12-15"),
        ("2026-11-23", "2026-11-23 2026-12-29 2027-01-25", "2026-12-01 2026-12-08 2026-12-15"),
        ("2026-11-24", "2026-12-29 2027-01-25 2027-02-23", "2026-12-01 2026-12-08 2026-12-15"),
        ("2026-12-29", "2026-12-29 2027-01-25 2027-02-23", "2027-01-05 2027-01-12 2027-01-19"),
        ("2027-03-15", "2027-03-30 2027-04-27 2027-05-25", "2027-03-16 2027-03-23 2027-04-06"),
        ("2028-01-02", "2028-01-25 2028-02-29 2028-03-28", "2028-01-04 2028-01-11 2028-01-18"),
    ],
)
def test_the_next_expiries_are_the_exchange_s_weekday_or_the_trading_day_before(
    day: str, months: str, weeks: str
) -> None:
    assert expiries(MONTHLY, date.fromisoformat(day), CALENDAR) == days(months)
    assert expiries(WEEKLY, date.fromisoformat(day), CALENDAR) == days(weeks)


@pytest.mark.parametrize("day", LATER)
def test_every_underlying_has_its_three_futures_and_the_index_its_weeks(day: date) -> None:
    listed = [row for row in instruments_of(day) if row.expiry is not None]
    months, weeks = (expiries(rule, day, CALENDAR) for rule in (MONTHLY, WEEKLY))
    for underlying in {row.underlying for row in listed}:
        futures = [r for r in listed if r.underlying == underlying and r.kind is InstrumentKind.FUTURE]
        assert sorted(str(row.expiry) for row in futures) == [str(expiry) for expiry in months]
    of_weeks = [row for row in listed if row.expiry in weeks]
    assert {row.expiry for row in of_weeks} == set(weeks) and len(of_weeks) == 3 * 20
    assert {(row.underlying, row.kind) for row in of_weeks} == {("NSE:NIFTY 50", InstrumentKind.OPTION)}


@pytest.mark.parametrize(
    ("day", "future", "call"),
    [
        ("2026-12-01", "NIFTY26DECFUT", "NIFTY26DEC26000CE"),
        ("2026-12-30", "NIFTY27JANFUT", "NIFTY27JAN26000CE"),
        ("2027-03-15", "NIFTY27MARFUT", "NIFTY27MAR26000CE"),
        ("2028-01-02", "NIFTY28JANFUT", "NIFTY28JAN26000CE"),
    ],
)
def test_the_front_contracts_are_found_by_role_and_named_as_the_exchange_names_them(
    day: str, future: str, call: str
) -> None:
    on = date.fromisoformat(day)
    assert front_future("NIFTY 50", on) == future
    assert front_option("NIFTY 50", 26_000, "CE", on) == call
    classes = session_classes(instruments_of(on), on)
    assert classes[f"NSE:{future}"] is SessionClass.FRONT_FUTURE
    assert classes[f"NSE:{futures_of('NIFTY 50', on)[1].symbol}"] is SessionClass.FO


def test_a_week_s_option_is_named_by_its_day_and_costs_less_than_the_month_s() -> None:
    week, month = LISTED["NSE:NIFTY26D0826000PE"], LISTED["NSE:NIFTY26DEC26000PE"]
    assert (week.expiry, week.strike, week.lot_size) == (date(2026, 12, 8), month.strike, month.lot_size)
    # 26,000 less 25,938.85 is in the money, half of the rest is gone.
    assert (month.previous_close, week.previous_close) == (205_90, 133_50)


@settings(deadline=None, max_examples=30)
@given(first=st.dates(date(2026, 4, 1), date(2045, 12, 31)), ahead=st.integers(1, 400))
def test_a_contract_is_the_same_on_whatever_day_it_is_looked_up_and_shares_no_token(
    first: date, ahead: int
) -> None:
    tokens: dict[tuple[str, int], Instrument] = {}
    for day in (first, first + timedelta(ahead)):
        for row in instruments_of(day):
            assert tokens.setdefault((row.exchange, row.token), row) == row
            assert row.expiry is None or (row.expiry >= day and CALENDAR.is_trading_day(row.expiry))


@settings(deadline=None, max_examples=30)
@given(day=st.dates(date(2026, 4, 1), date(2045, 12, 31)))
def test_nothing_changes_before_the_next_roll_and_something_does_then(day: date) -> None:
    roll = next_roll(day)
    assert day < roll <= day + timedelta(8)
    assert set(instruments_of(roll - timedelta(1))) == set(instruments_of(day)) != set(instruments_of(roll))


@pytest.mark.parametrize("day", LATER)
def test_the_clearing_corporation_margins_every_contract_of_a_later_year(day: date) -> None:
    listed = {row.symbol: row for row in instruments_of(day) if row.exchange == "NSE"}
    span = span_parameters("NSE", listed, ist_ns(day, session_rules().plan[0].earliest))
    assert span is not None
    assert {contract_key(row) for row in listed.values()} - {None} <= set(span.contracts)


def test_on_a_day_before_the_listings_there_are_shares_alone() -> None:
    assert not [row for row in instruments_of(date(2025, 8, 29)) if row.expiry is not None]
