"""When an order may enter and as what it leaves: a real day's phases, and a price limit on everything."""

from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.rules import market_protection
from config.sessions import broker_hours
from domain.exchange_terms import (
    Admission,
    ExchangeTerms,
    admit,
    exchange_terms,
    expiry_refusal,
    needs_last_price,
    within,
)
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.time import ist_ns
from tests.support.builders import an_instrument, some_terms

DAY, SATURDAY = date(2026, 11, 23), date(2026, 11, 28)
SLABS = market_protection(DAY)
LIMIT, MARKET, SL, SL_M = OrderType.LIMIT, OrderType.MARKET, OrderType.SL, OrderType.SL_M
NOW = "now"
REFUSED = "refused"
CAS = SessionClass.CAS
CONTINUOUS = Admission(MarketPhase.CONTINUOUS)

# kind and validity -> what becomes of it in each phase of the day, at a moment of that phase: taken now,
# refused, or armed for a phase.
PHASES = {
    MarketPhase.PRE_OPEN_ENTRY: time(9, 2),
    MarketPhase.PRE_OPEN_LIMIT: time(9, 7),
    MarketPhase.PRE_OPEN_MATCHING: time(9, 11),
    MarketPhase.CONTINUOUS: time(11, 0),
    MarketPhase.CLOSING_REFERENCE: time(15, 17),
    MarketPhase.CLOSING_AUCTION: time(15, 22),
    MarketPhase.CLOSING_AUCTION_LIMIT: time(15, 27),
    MarketPhase.CLOSING_MATCHING: time(15, 31),
    MarketPhase.POST_CLOSE: time(15, 55),
    MarketPhase.HALTED: time(12, 0),
}
OUTCOMES: dict[tuple[OrderType, Validity], list[str]] = {
    (LIMIT, Validity.DAY): [NOW, NOW, "CONTINUOUS", NOW, REFUSED, NOW, NOW, REFUSED, REFUSED, REFUSED],
    (MARKET, Validity.DAY): [
        NOW,
        "CONTINUOUS",
        "CONTINUOUS",
        NOW,
        REFUSED,
        NOW,
        REFUSED,
        REFUSED,
        NOW,
        REFUSED,
    ],
    (SL, Validity.DAY): ["CONTINUOUS"] * 3 + [NOW] + [REFUSED] * 6,
    (SL_M, Validity.DAY): ["CONTINUOUS"] * 3 + [NOW] + [REFUSED] * 6,
    (LIMIT, Validity.IOC): ["CONTINUOUS"] * 3 + [NOW] + [REFUSED] * 6,
    (MARKET, Validity.IOC): ["CONTINUOUS"] * 3 + [NOW] + [REFUSED] * 6,
}


def terms_of(order_type: OrderType, validity: Validity = Validity.DAY, **changes: Any) -> OrderTerms:
    prices = {"price": None, "trigger_price": None}
    if order_type in (LIMIT, SL):
        prices["price"] = 245050  # type: ignore[assignment]
    if order_type in (SL, SL_M):
        prices["trigger_price"] = 245000  # type: ignore[assignment]
    return some_terms(order_type=order_type, validity=validity, **(prices | changes))


def outcome(terms: OrderTerms, phase: MarketPhase | None, at: time, day: date = DAY) -> str:
    entered = admit(terms, phase, CAS, broker_hours(), ist_ns(day, at))
    if isinstance(entered, Refusal):
        return REFUSED
    return entered.release_phases[0] if entered.release_phases else NOW


@pytest.mark.parametrize(("order_type", "validity"), OUTCOMES)
def test_each_phase_takes_arms_or_refuses_each_kind(order_type: OrderType, validity: Validity) -> None:
    terms = terms_of(order_type, validity)
    found = [outcome(terms, phase, at) for phase, at in PHASES.items()]
    assert dict(zip(PHASES, found, strict=True)) == dict(
        zip(PHASES, OUTCOMES[order_type, validity], strict=True)
    )


@pytest.mark.parametrize(
    ("order_type", "day", "at", "expected"),
    [
        (LIMIT, DAY, time(8, 45), "PRE_OPEN_ENTRY"),
        (LIMIT, DAY, time(8, 59), REFUSED),
        (LIMIT, DAY, time(15, 45), REFUSED),
        (LIMIT, DAY, time(16, 30), "PRE_OPEN_ENTRY"),
        (SL, DAY, time(23, 0), "CONTINUOUS"),
        (MARKET, SATURDAY, time(12, 0), "PRE_OPEN_ENTRY"),
        (LIMIT, date(2030, 1, 1), time(12, 0), REFUSED),
    ],
)
def test_a_closed_market_takes_orders_in_the_after_market_hours(
    order_type: OrderType, day: date, at: time, expected: str
) -> None:
    assert outcome(terms_of(order_type), MarketPhase.CLOSED, at, day) == expected


@pytest.mark.parametrize(
    ("reached", "expected"),
    [(time(8, 45), "PRE_OPEN_ENTRY"), (time(15, 35), REFUSED), (time(16, 0), "PRE_OPEN_ENTRY")],
)
def test_a_day_that_is_played_at_night_has_its_own_after_market_hours(reached: time, expected: str) -> None:
    """Whatever the clock says: half past ten in the evening is an after-market hour, noon is none."""
    for clock in (time(22, 30), time(12, 0)):
        terms, now_ns = terms_of(LIMIT), ist_ns(SATURDAY, clock)
        entered = admit(terms, MarketPhase.CLOSED, CAS, broker_hours(), now_ns, ist_ns(DAY, reached))
        told = REFUSED if isinstance(entered, Refusal) else entered.release_phases[0]
        assert told == expected


DAYS = [
    # Monday noon, Monday evening before a holiday, the holiday, Friday evening, Saturday, Monday morning.
    (date(2026, 11, 23), time(12, 0), date(2026, 11, 23)),
    (date(2026, 11, 23), time(16, 30), date(2026, 11, 25)),
    (date(2026, 11, 24), time(12, 0), date(2026, 11, 25)),
    (date(2026, 11, 27), time(23, 59), date(2026, 11, 30)),
    (date(2026, 11, 28), time(0, 1), date(2026, 11, 30)),
    (date(2026, 11, 30), time(8, 30), date(2026, 11, 30)),
]


@pytest.mark.parametrize(("day", "hour", "meets"), DAYS)
def test_an_order_is_of_the_day_on_which_it_meets_the_market(day: date, hour: time, meets: date) -> None:
    """Whatever the clock says, where the market has a time of its own."""
    phase = MarketPhase.CONTINUOUS if hour == time(12, 0) and day == meets else MarketPhase.CLOSED
    future = an_instrument(expiry=day)
    for now_ns, market_ns in ((ist_ns(day, hour), None), (0, ist_ns(day, hour))):
        entered = admit(terms_of(LIMIT), phase, CAS, broker_hours(), now_ns, market_ns)
        assert isinstance(entered, Admission) and entered.day == meets
        leaves = exchange_terms(terms_of(LIMIT), future, entered, None, SLABS)
        assert isinstance(leaves, ExchangeTerms) and leaves.day == meets
        # A contract that ends today is not for tomorrow.
        refused = expiry_refusal(future, entered)
        assert (refused.code if refused else None) == (None if day == meets else "INSTRUMENT_EXPIRED")
        assert expiry_refusal(an_instrument(expiry=meets), entered) is None
        assert expiry_refusal(an_instrument(expiry=None), entered) is None


SQUARE_OFFS = [(CAS, time(15, 0)), (SessionClass.CASH, time(15, 20)), (SessionClass.FO, time(15, 25))]


@pytest.mark.parametrize(("session_class", "hour"), SQUARE_OFFS)
def test_from_the_square_off_on_no_intraday_order_is_taken(session_class: SessionClass, hour: time) -> None:
    def asked(product: Product, market_ns: int | None, *, by_house: bool = False) -> Admission | Refusal:
        terms, now_ns = terms_of(LIMIT, product=product), ist_ns(DAY, time(15, 30))
        phase, hours = MarketPhase.CONTINUOUS, broker_hours()
        return admit(terms, phase, session_class, hours, now_ns, market_ns, by_house=by_house)

    at_ns, taken = ist_ns(DAY, hour), Admission(MarketPhase.CONTINUOUS, day=DAY)
    assert asked(Product.MIS, at_ns - 1) == taken
    refused = asked(Product.MIS, at_ns)
    assert isinstance(refused, Refusal)
    assert refused.code is RejectCode.INTRADAY_CLOSED
    assert f"{hour:%H:%M} IST" in refused.sentence
    assert refused.nearest == ("NRML" if session_class is SessionClass.FO else "CNC")
    assert asked(Product.CNC, at_ns) == taken
    assert asked(Product.MIS, at_ns, by_house=True) == taken
    # An exchange that keeps no hours has no square-off.
    assert asked(Product.MIS, None) == taken


def test_an_intraday_order_after_hours_is_the_next_day_s() -> None:
    terms, now_ns = terms_of(LIMIT, product=Product.MIS), ist_ns(DAY, time(17, 0))
    entered = admit(terms, MarketPhase.CLOSED, CAS, broker_hours(), now_ns, now_ns)
    assert isinstance(entered, Admission)
    assert entered.release_phases[0] is MarketPhase.PRE_OPEN_ENTRY


def test_a_phase_that_is_not_known_takes_nothing() -> None:
    refused = admit(terms_of(LIMIT), None, CAS, broker_hours(), ist_ns(DAY, time(11, 0)))
    assert refused == Refusal(RejectCode.MARKET_PHASE_UNKNOWN)


def leaves(terms: OrderTerms, entered: Admission = CONTINUOUS, last: int | None = 245000) -> ExchangeTerms:
    left = exchange_terms(terms, an_instrument(), entered, last, SLABS)
    assert isinstance(left, ExchangeTerms)
    return left


def test_a_market_order_leaves_as_a_limit_order_half_a_percent_from_the_last_price() -> None:
    buy = leaves(terms_of(MARKET))
    assert (buy.order_type, buy.price, buy.margin_price) == (LIMIT, 246220, 246220)
    sell = leaves(terms_of(MARKET, side=Side.SELL))
    assert (sell.order_type, sell.price, sell.margin_price) == (LIMIT, 243780, 246220)
    wide = leaves(terms_of(MARKET, market_protection=200))
    assert wide.price == 249900
    unknown = exchange_terms(terms_of(MARKET), an_instrument(), CONTINUOUS, None, SLABS)
    assert unknown == Refusal(RejectCode.PRICE_UNKNOWN)


def test_a_stop_without_a_limit_is_protected_from_its_trigger() -> None:
    left = leaves(terms_of(SL_M), last=None)
    assert (left.order_type, left.price) == (SL, 246220)


def test_a_market_order_meets_an_auction_as_it_is_and_the_bell_within_the_band() -> None:
    auction = leaves(terms_of(MARKET), Admission(MarketPhase.PRE_OPEN_ENTRY), None)
    assert (auction.order_type, auction.price, auction.margin_price) == (MARKET, None, 269500)
    bell = Admission(MarketPhase.PRE_OPEN_MATCHING, (MarketPhase.CONTINUOUS,))
    armed = leaves(terms_of(MARKET, side=Side.SELL), bell, None)
    assert (armed.order_type, armed.price, armed.release_phases) == (LIMIT, 220500, bell.release_phases)


BELL = Admission(MarketPhase.PRE_OPEN_ENTRY, (MarketPhase.CONTINUOUS,))
AFTER_HOURS = Admission(MarketPhase.CLOSED, (MarketPhase.PRE_OPEN_ENTRY,))
LOW, HIGH = 220500, 269500


@pytest.mark.parametrize("entered", [CONTINUOUS, BELL, AFTER_HOURS])
@pytest.mark.parametrize(
    ("kind", "price", "trigger", "last", "expected"),
    [
        (LIMIT, LOW, None, 245000, 245000),
        (LIMIT, 250000, None, 245000, 250000),
        (LIMIT, LOW, None, None, HIGH),
        (SL, 240000, 242000, 245000, 245000),
        (SL, 240000, 246000, 245000, 246000),
        (SL, 240000, 242000, None, HIGH),
        (SL_M, None, 230000, 245000, 245000),
        (SL_M, None, 230000, None, HIGH),
    ],
)
def test_a_sale_is_margined_at_the_dearest_of_limit_trigger_and_last_price_or_at_the_band(
    entered: Admission,
    kind: OrderType,
    price: int | None,
    trigger: int | None,
    last: int | None,
    expected: int,
) -> None:
    prices: dict[str, Any] = {"price": price, "trigger_price": trigger}
    terms = some_terms(order_type=kind, side=Side.SELL, product=Product.MIS, **prices)
    left = leaves(terms, entered, last)
    assert left.margin_price == expected
    assert left.price == price or kind is SL_M, "the market's price is no part of what is sent"


@given(limit=st.integers(LOW, HIGH), last=st.integers(LOW, HIGH), side=st.sampled_from(Side))
def test_no_short_is_margined_below_the_market_and_no_purchase_above_its_limit(
    limit: int, last: int, side: Side
) -> None:
    left = leaves(some_terms(side=side, price=limit, product=Product.MIS), last=last)
    assert left.margin_price == (max(limit, last) if side is Side.SELL else limit)
    # Shares that are held are sold for what they fetch: no margin, and worth what is asked.
    assert leaves(some_terms(side=side, price=limit), last=last).margin_price == limit


@given(
    last=st.integers(1, 3_000_00),
    side=st.sampled_from(Side),
    protection=st.one_of(st.none(), st.integers(1, 10_000)),
)
def test_a_protected_price_is_legal_and_beyond_the_last_price(
    last: int, side: Side, protection: int | None
) -> None:
    instrument = an_instrument(lower_band=10, upper_band=4_000_00)
    terms = terms_of(MARKET, side=side, market_protection=protection)
    left = exchange_terms(terms, instrument, CONTINUOUS, last, SLABS)
    assert needs_last_price(terms, CONTINUOUS)
    assert isinstance(left, ExchangeTerms)
    assert left.price is not None
    assert left.price % instrument.tick_size == 0
    assert instrument.lower_band <= left.price <= instrument.upper_band
    beyond = (left.price - last) * side.sign
    assert beyond > 0 or left.price in (instrument.lower_band, instrument.upper_band)
    assert left.margin_price >= left.price


@given(last=st.integers(2_300_00, 2_600_00), blocked_at=st.integers(2_300_00, 2_600_00))
def test_an_order_that_was_blocked_at_an_earlier_price_leaves_within_it(last: int, blocked_at: int) -> None:
    terms, instrument = terms_of(MARKET), an_instrument()
    first, now = leaves(terms, last=blocked_at), leaves(terms, last=last)
    left = within(now, terms, instrument, now.margin_price, first.margin_price)
    assert left.price is not None
    assert left.price <= max(first.margin_price, instrument.lower_band)
    assert left.price % instrument.tick_size == 0
    sale = leaves(terms_of(MARKET, side=Side.SELL), last=last)
    assert within(sale, terms_of(MARKET, side=Side.SELL), instrument, 2, 1) == sale
