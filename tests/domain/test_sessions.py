"""The trading day by the rules: every phase of every class, before and after each change; the calendar."""

from datetime import date, datetime, timedelta

import exchange_calendars
import pytest

from config.sessions import broker_hours, session_rules
from domain.instruments import InstrumentKind, Segment
from domain.orders import OrderType, Validity
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS, SessionClass, session_classes
from domain.time import IST, NANOS, rfc3339
from tests.support.builders import an_instrument

RULES, HOURS = session_rules(), broker_hours()
CAS, CASH, FO, FRONT = SessionClass
P = MarketPhase


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


# 2026-11-23 is a Monday under today's rules; 2026-08-31 lies between the two changes; 2026-07-31 before both.
DAYS = {
    CAS: """
        2026-11-23 00:00:00 CLOSED                2026-11-23 08:59:59 CLOSED
        2026-11-23 09:00:00 PRE_OPEN_ENTRY        2026-11-23 09:04:59 PRE_OPEN_ENTRY
        2026-11-23 09:05:00 PRE_OPEN_LIMIT        2026-11-23 09:09:59 PRE_OPEN_LIMIT
        2026-11-23 09:10:00 PRE_OPEN_MATCHING     2026-11-23 09:14:59 PRE_OPEN_MATCHING
        2026-11-23 09:15:00 CONTINUOUS            2026-11-23 15:14:59 CONTINUOUS
        2026-11-23 15:15:00 CLOSING_REFERENCE     2026-11-23 15:20:00 CLOSING_AUCTION
        2026-11-23 15:25:00 CLOSING_AUCTION_LIMIT 2026-11-23 15:30:00 CLOSING_MATCHING
        2026-11-23 15:35:00 CLOSED                2026-11-23 15:50:00 POST_CLOSE
        2026-11-23 15:59:59 POST_CLOSE            2026-11-23 16:00:00 CLOSED
        2026-08-31 09:05:00 PRE_OPEN_ENTRY        2026-08-31 09:08:00 PRE_OPEN_MATCHING
        2026-08-31 15:15:00 CLOSING_REFERENCE     2026-07-31 15:15:00 CONTINUOUS
        2026-07-31 15:30:00 CLOSED                2026-07-31 15:40:00 POST_CLOSE
    """,
    CASH: """
        2026-11-23 09:00:00 PRE_OPEN_ENTRY        2026-11-23 09:05:00 PRE_OPEN_LIMIT
        2026-11-23 15:15:00 CONTINUOUS            2026-11-23 15:29:59 CONTINUOUS
        2026-11-23 15:30:00 CLOSED                2026-11-23 15:40:00 CLOSED
        2026-11-23 15:50:00 POST_CLOSE            2026-11-23 16:00:00 CLOSED
        2026-07-31 09:07:59 PRE_OPEN_ENTRY        2026-07-31 15:40:00 POST_CLOSE
    """,
    FO: """
        2026-11-23 09:00:00 CLOSED                2026-11-23 09:14:59 CLOSED
        2026-11-23 09:15:00 CONTINUOUS            2026-11-23 15:39:59 CONTINUOUS
        2026-11-23 15:40:00 CLOSED                2026-11-23 15:50:00 CLOSED
        2026-07-31 15:29:59 CONTINUOUS            2026-07-31 15:30:00 CLOSED
    """,
    FRONT: """
        2026-11-23 09:00:00 PRE_OPEN_ENTRY        2026-11-23 09:05:00 PRE_OPEN_LIMIT
        2026-11-23 09:10:00 PRE_OPEN_MATCHING     2026-11-23 09:15:00 CONTINUOUS
        2026-11-23 15:40:00 CLOSED                2026-07-31 09:05:00 PRE_OPEN_ENTRY
    """,
}
MOMENTS = [
    (session_class, f"{day} {clock}", MarketPhase(phase))
    for session_class, text in DAYS.items()
    for day, clock, phase in zip(*[iter(text.split())] * 3, strict=True)
]


@pytest.mark.parametrize(("session_class", "moment", "phase"), MOMENTS)
def test_each_class_is_in_its_phase_of_the_rules_of_that_day(
    session_class: SessionClass, moment: str, phase: MarketPhase
) -> None:
    assert RULES.phase_at(at(moment), session_class) is phase


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("2026-11-22 11:00:00", P.CLOSED),  # a Sunday
        ("2026-12-25 11:00:00", P.CLOSED),  # Christmas
        ("2026-01-15 11:00:00", P.CLOSED),  # announced at short notice
        ("2026-02-01 11:00:00", P.CONTINUOUS),  # a Sunday that trades
        ("2026-11-08 11:00:00", P.CLOSED),  # Diwali: by day there is no trading,
        ("2026-11-08 18:30:00", P.CONTINUOUS),  # but for an hour in the evening
        ("2026-11-08 19:15:00", P.CLOSED),
        ("2025-12-05 11:00:00", P.CLOSED),  # before the first rule
        ("2027-01-04 11:00:00", P.CONTINUOUS),  # beyond the kept calendar
        ("2027-01-26 11:00:00", P.CLOSED),  # beyond it, too: Republic Day
        ("2025-12-24 11:00:00", P.CLOSED),  # before it
    ],
)
def test_holidays_special_sessions_and_days_nobody_knows(moment: str, phase: MarketPhase) -> None:
    assert {RULES.phase_at(at(moment), c) for c in SessionClass} == {phase}


@pytest.mark.filterwarnings("ignore:Series.values")
def test_the_weekdays_of_our_calendar_are_those_that_others_keep() -> None:
    calendar = exchange_calendars.get_calendar("XBOM")
    theirs = {day.date() for day in calendar.sessions_in_range("2025-12-25", "2026-12-31")}
    days = [date(2025, 12, 25) + timedelta(n) for n in range(372)]
    ours = {day for day in days if RULES.calendar.is_trading_day(day)}
    # They know no session on a weekend; we list each by name.
    assert ours - theirs == {date(2026, 2, 1), date(2026, 11, 8)}
    assert theirs - ours == set()


def test_the_next_change_is_an_interval_where_the_exchange_draws_the_moment() -> None:
    change = RULES.next_change(at("2026-11-23 09:06:00"), CAS)
    assert change is not None and change.phase is P.PRE_OPEN_MATCHING
    assert rfc3339(change.earliest_ns) == "2026-11-23T03:38:00.000000000Z"
    assert rfc3339(change.latest_ns) == "2026-11-23T03:40:00.000000000Z"


def test_after_the_close_the_next_change_is_on_the_next_trading_day() -> None:
    change = RULES.next_change(at("2026-12-24 16:30:00"), CAS)  # Christmas and a weekend lie between
    assert change is not None and change.phase is P.PRE_OPEN_ENTRY
    assert rfc3339(change.latest_ns) == "2026-12-28T03:30:00.000000000Z"
    # After the kept calendar a weekday is a trading day.
    change = RULES.next_change(at("2026-12-31 16:30:00"), CAS)
    assert change is not None and rfc3339(change.latest_ns) == "2027-01-01T03:30:00.000000000Z"


def test_a_settlement_holiday_trades_and_does_not_settle() -> None:
    calendar = RULES.calendar
    assert calendar.is_trading_day(date(2026, 4, 1)) and not calendar.is_settlement_day(date(2026, 4, 1))
    # 31 March is a holiday, 1 April does not settle, 3 April is Good Friday.
    assert calendar.settlement_day(date(2026, 3, 30)) == date(2026, 4, 2)
    assert calendar.settlement_day(date(2026, 4, 1)) == date(2026, 4, 2)
    assert calendar.settlement_day(date(2026, 4, 2)) == date(2026, 4, 6)
    with pytest.raises(LookupError):
        calendar.settlement_day(date(2025, 12, 1))


def test_after_the_kept_years_the_calendar_goes_by_weekends_and_fixed_holidays() -> None:
    calendar = RULES.calendar
    assert calendar.kept_until == date(2026, 12, 31)
    closed = [date(2027, 1, 26), date(2027, 10, 2), date(2028, 1, 1), date(2028, 8, 15), date(2028, 12, 25)]
    assert not [day for day in closed if calendar.is_trading_day(day) or calendar.is_settlement_day(day)]
    assert calendar.is_trading_day(date(2027, 3, 15)) and calendar.is_trading_day(date(2028, 1, 3))
    assert calendar.settlement_day(date(2028, 1, 25)) == date(2028, 1, 27)
    # A year that is kept says itself when it is closed.
    assert calendar.is_trading_day(date(2026, 8, 14)) and not calendar.is_trading_day(date(2026, 10, 2))


@pytest.mark.parametrize(
    ("day", "said"),
    [("2026-10-31", None), ("2026-11-01", "ends on"), ("2026-12-31", "ends on"), ("2028-01-02", "ended on")],
)
def test_the_house_is_told_from_sixty_days_before_the_kept_calendar_ends(day: str, said: str | None) -> None:
    warning = RULES.calendar.warning(date.fromisoformat(day))
    if said is None:
        assert warning is None
    else:
        assert warning is not None and f"{said} 2026-12-31" in warning


def test_instruments_fall_into_their_classes_and_the_nearest_future_is_the_front_one() -> None:
    fo = {"segment": Segment.FO, "kind": InstrumentKind.FUTURE, "underlying": "NSE:TCS"}
    rows = [
        an_instrument(instrument_id="CAS"),
        an_instrument(instrument_id="CASH", dynamic_band=False),
        an_instrument(instrument_id="ETF", kind=InstrumentKind.ETF),
        an_instrument(instrument_id="OCT", expiry=date(2026, 10, 27), **fo),
        an_instrument(instrument_id="NOV", expiry=date(2026, 11, 24), **fo),
        an_instrument(instrument_id="DEC", expiry=date(2026, 12, 29), **fo),
        an_instrument(instrument_id="CE", **{**fo, "kind": InstrumentKind.OPTION}, expiry=date(2026, 11, 24)),
    ]
    assert session_classes(rows, date(2026, 11, 24)) == {
        "CAS": CAS,
        "CASH": CASH,
        "ETF": CASH,
        "OCT": FO,
        "NOV": FRONT,
        "DEC": FO,
        "CE": FO,
    }
    assert session_classes(rows, date(2026, 11, 25))["DEC"] is FRONT


# Order type and validity down, phase across: y where market-rules section 1 lets a new order in.
PHASES = [
    P.CLOSED,
    P.PRE_OPEN_ENTRY,
    P.PRE_OPEN_LIMIT,
    P.PRE_OPEN_MATCHING,
    P.CONTINUOUS,
    P.CLOSING_REFERENCE,
    P.CLOSING_AUCTION,
    P.CLOSING_AUCTION_LIMIT,
    P.CLOSING_MATCHING,
    P.POST_CLOSE,
    P.HALTED,
]
TAKES = """
    MARKET DAY  . y . . y . y . . y .
    MARKET IOC  . . . . y . . . . . .
    LIMIT  DAY  . y y . y . y y . . .
    LIMIT  IOC  . . . . y . . . . . .
    SL     DAY  . . . . y . . . . . .
    SL     IOC  . . . . y . . . . . .
    SL-M   DAY  . . . . y . . . . . .
    SL-M   IOC  . . . . y . . . . . .
    MARKET GTT  . . . . . . . . . . .
    LIMIT  GTT  . . . . . . . . . . .
"""
CELLS = [
    (OrderType(kind), Validity(validity), phase, cell == "y")
    for kind, validity, *cells in (line.split() for line in TAKES.strip().splitlines())
    for phase, cell in zip(PHASES, cells, strict=True)
]


@pytest.mark.parametrize(("order_type", "validity", "phase", "taken"), CELLS)
def test_each_phase_takes_the_orders_of_the_rules(
    order_type: OrderType, validity: Validity, phase: MarketPhase, taken: bool
) -> None:
    assert PERMISSIONS[phase].takes(order_type, validity) is taken


def test_every_phase_has_its_row() -> None:
    assert set(PERMISSIONS) == set(MarketPhase) == set(PHASES)


@pytest.mark.parametrize(
    ("moment", "session_class", "taken"),
    [
        ("2026-11-23 08:57:59", CAS, True),
        ("2026-11-23 08:58:00", CAS, False),
        ("2026-11-23 15:59:59", CAS, False),
        ("2026-11-23 16:00:00", CAS, True),
        ("2026-11-23 09:09:59", FO, True),
        ("2026-11-23 09:10:00", FO, False),
        ("2026-11-23 15:45:00", FO, True),
        ("2026-11-22 12:00:00", FO, True),  # a Sunday
        ("2026-12-25 12:00:00", CAS, True),
        ("2026-07-31 20:00:00", CAS, False),  # before the house had such hours
        ("2027-01-04 20:00:00", CAS, True),  # beyond the kept calendar, by rule
    ],
)
def test_after_market_orders_are_taken_in_their_hours(
    moment: str, session_class: SessionClass, taken: bool
) -> None:
    assert HOURS.takes_after_market(at(moment), session_class) is taken


@pytest.mark.parametrize(
    ("session_class", "order_type", "validity", "phase"),
    [
        (CAS, OrderType.LIMIT, Validity.DAY, P.PRE_OPEN_ENTRY),
        (CAS, OrderType.MARKET, Validity.DAY, P.PRE_OPEN_ENTRY),
        (CAS, OrderType.LIMIT, Validity.IOC, P.CONTINUOUS),
        (CASH, OrderType.SL, Validity.DAY, P.CONTINUOUS),
        (FO, OrderType.LIMIT, Validity.DAY, P.CONTINUOUS),
        (FRONT, OrderType.LIMIT, Validity.DAY, P.CONTINUOUS),
        (CAS, OrderType.LIMIT, Validity.GTT, None),
    ],
)
def test_an_armed_order_leaves_in_the_first_phase_that_takes_it(
    session_class: SessionClass, order_type: OrderType, validity: Validity, phase: MarketPhase | None
) -> None:
    morning = at("2026-11-23 07:00:00")
    phases = HOURS.after_market_phases(morning, session_class, order_type, validity)
    assert next(iter(phases), None) is phase


def test_intraday_positions_are_squared_off_before_the_closing_auction() -> None:
    assert HOURS.square_off_ns(date(2026, 11, 23), CAS) == at("2026-11-23 15:00:00")
    assert HOURS.square_off_ns(date(2026, 11, 23), CASH) == at("2026-11-23 15:20:00")
    assert HOURS.square_off_ns(date(2026, 11, 23), FO) == at("2026-11-23 15:25:00")
    assert HOURS.square_off_ns(date(2026, 7, 31), CAS) == at("2026-07-31 15:20:00")
    assert HOURS.square_off_ns(date(2026, 12, 25), CAS) is None
    assert HOURS.square_off_ns(date(2026, 11, 8), CAS) is None
