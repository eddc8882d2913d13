"""When and as what an order leaves for the exchange: at once or armed for a phase, and never without a price
limit.

The gates ask `admit` whether the present phase and the house's hours let the order in; `exchange_terms` turns
an unpriced order into what goes on the wire. A market order in the continuous market is sent as a limit order
at a protected price, a stop without a limit likewise (market-rules section 8: an unprotected market order is
refused). In a call auction it stays what it is: all trade at one price there. Prices in paise, protection in
basis points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from domain.broker_hours import BrokerHours
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.money import ceil_div
from domain.orders import OrderTerms, OrderType, Product, Side
from domain.price_bands import BASIS_POINTS
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS, SessionClass
from domain.time import clock_time, trade_date

BEFORE_THE_BELL = frozenset(
    {MarketPhase.PRE_OPEN_ENTRY, MarketPhase.PRE_OPEN_LIMIT, MarketPhase.PRE_OPEN_MATCHING}
)


@dataclass(frozen=True, slots=True)
class Admission:
    """The order may enter: at once, or, when there are `release_phases`, once the market is in one."""

    phase: MarketPhase
    """The present one, as the exchange announced it."""
    release_phases: tuple[MarketPhase, ...] = ()
    day: date | None = None
    """The day on which it meets the market, by the market's own time."""

    @property
    def into_continuous(self) -> bool:
        """At once, into the continuous market."""
        return not self.release_phases and self.phase is MarketPhase.CONTINUOUS

    @property
    def first_phase(self) -> MarketPhase:
        """The earliest phase in which the order can meet the market."""
        return self.release_phases[0] if self.release_phases else self.phase


@dataclass(frozen=True, slots=True)
class ExchangeTerms:
    """What goes on the wire, and the price at which the order's margin is reckoned."""

    order_type: OrderType
    price: int | None
    margin_price: int
    """The dearest that it is likely to trade at: what a short needs follows the market, not its limit."""
    release_phases: tuple[MarketPhase, ...] = ()
    day: date | None = None
    """The day on which it meets the market: the risk desk's lists and limits of that day hold for it."""


@dataclass(frozen=True, slots=True)
class ProtectionSlab:
    """Automatic market protection of one kind below a price; None: for every other price."""

    kind: InstrumentKind
    price_below: int | None
    basis_points: int


def admit(
    terms: OrderTerms,
    phase: MarketPhase | None,
    session_class: SessionClass,
    hours: BrokerHours,
    now_ns: int,
    market_ns: int | None = None,
    *,
    by_house: bool = False,
) -> Admission | Refusal:
    """Whether the market takes the order now or, armed, later; `phase` is None when it is not known.

    The house's hours are those of the exchange's own day, which has come to `market_ns`; an exchange that
    keeps no hours (None) has no square-off, and its after-market hours are the clock's.
    """
    if phase is None:
        return Refusal(RejectCode.MARKET_PHASE_UNKNOWN)
    if PERMISSIONS[phase].takes(terms.order_type, terms.validity):
        closed = None if by_house else intraday_refusal(terms, session_class, hours, market_ns)
        return closed or Admission(phase, day=trade_date(now_ns if market_ns is None else market_ns))
    now_ns = now_ns if market_ns is None else market_ns
    today = trade_date(now_ns)
    day: date | None = today
    if phase in BEFORE_THE_BELL:
        later = hours.phases_taking(today, session_class, terms.order_type, terms.validity, after=phase)
    elif phase is MarketPhase.CLOSED and hours.takes_after_market(now_ns, session_class):
        later = hours.after_market_phases(now_ns, session_class, terms.order_type, terms.validity)
        day = hours.release_day(now_ns, session_class)
    else:
        later = ()
    return Admission(phase, later, day) if later else Refusal(RejectCode.MARKET_CLOSED, limit=phase.value)


def intraday_refusal(
    terms: OrderTerms, session_class: SessionClass, hours: BrokerHours, market_ns: int | None
) -> Refusal | None:
    """From the square-off of the day on, no intraday order is taken but the house's own (market-rules 2)."""
    if terms.product is not Product.MIS or market_ns is None:
        return None
    square_off_ns = hours.square_off_ns(trade_date(market_ns), session_class)
    if square_off_ns is None or market_ns < square_off_ns:
        return None
    carried = Product.CNC if session_class.segment is Segment.CASH else Product.NRML
    return Refusal(RejectCode.INTRADAY_CLOSED, "product", clock_time(square_off_ns), carried)


def expiry_refusal(instrument: Instrument, entered: Admission) -> Refusal | None:
    """Refuse an order for a day on which its contract has expired."""
    if instrument.expiry is None or entered.day is None or entered.day <= instrument.expiry:
        return None
    return Refusal(RejectCode.INSTRUMENT_EXPIRED, "instrument_id", instrument.expiry.isoformat())


def exchange_terms(
    terms: OrderTerms,
    instrument: Instrument,
    entered: Admission,
    last_price: int | None,
    slabs: Sequence[ProtectionSlab],
) -> ExchangeTerms | Refusal:
    """`last_price` is None where it is not known for certain, and need not be where nothing depends on it.

    A sale trades at its limit or better, so a short is margined at the dearest of limit, trigger and last
    price. Where the last price is not known, before the bell and after the market too, the upper end of the
    band takes its place: nothing trades above it, and no sale that only closes is refused for want of one.
    """
    priced = _priced(terms, instrument, entered, last_price, slabs)
    if isinstance(priced, Refusal):
        return priced
    leaves = ExchangeTerms(*priced, entered.release_phases, entered.day)
    if not may_short(terms):
        return leaves
    market = instrument.upper_band if last_price is None else last_price
    return replace(leaves, margin_price=max(leaves.margin_price, market))


def _priced(
    terms: OrderTerms,
    instrument: Instrument,
    entered: Admission,
    last_price: int | None,
    slabs: Sequence[ProtectionSlab],
) -> tuple[OrderType, int | None, int] | Refusal:
    """Order type and price on the wire, and the price at which the margin is reckoned."""
    if terms.price is not None:
        # A sell stop may trade anywhere from its trigger down to its limit.
        return terms.order_type, terms.price, max(terms.price, terms.trigger_price or 0)
    if terms.trigger_price is not None:
        protected, margin = _protected(terms, instrument, terms.trigger_price, slabs)
        return OrderType.SL, protected, margin
    if needs_last_price(terms, entered):
        if last_price is None:
            return Refusal(RejectCode.PRICE_UNKNOWN)
        protected, margin = _protected(terms, instrument, last_price, slabs)
        return OrderType.LIMIT, protected, margin
    bound = instrument.upper_band if terms.side is Side.BUY else instrument.lower_band
    if entered.first_phase is MarketPhase.CONTINUOUS:
        # Armed: what the last price will be nobody knows; the day's band is the protection.
        return OrderType.LIMIT, bound, instrument.upper_band
    return OrderType.MARKET, None, instrument.upper_band


def within(
    leaves: ExchangeTerms, terms: OrderTerms, instrument: Instrument, unit: int, blocked_unit: int
) -> ExchangeTerms:
    """The departure of an unpriced purchase whose margin was blocked for less than `unit` a share: a price in
    proportion, so that no fill costs more than is blocked.
    """
    if leaves.price is None or terms.price is not None or terms.side is Side.SELL or blocked_unit >= unit:
        return leaves
    tick = instrument.tick_size
    price = max(leaves.price * blocked_unit // (unit * tick) * tick, instrument.lower_band)
    return replace(leaves, price=price, margin_price=price)


def may_short(terms: OrderTerms) -> bool:
    """A sale, unless it is one of delivery, which needs the shares and no margin."""
    return terms.side is Side.SELL and terms.product is not Product.CNC


def needs_last_price(terms: OrderTerms, entered: Admission) -> bool:
    """A market order that enters the continuous market now is protected around the last price: without it,
    the order is refused.
    """
    return terms.order_type is OrderType.MARKET and entered.into_continuous


def _protected(
    terms: OrderTerms, instrument: Instrument, reference: int, slabs: Sequence[ProtectionSlab]
) -> tuple[int, int]:
    """The worst price the order may trade at, on the tick and in the band, and the dearest it may."""
    width = terms.market_protection or _automatic(instrument, reference, slabs)
    tick, low, high = instrument.tick_size, instrument.lower_band, instrument.upper_band
    dearest = reference * (BASIS_POINTS + width) // (BASIS_POINTS * tick) * tick
    cheapest = ceil_div(reference * (BASIS_POINTS - width), BASIS_POINTS * tick) * tick
    # At least one tick beyond the reference: a protection that rounds to nothing would not trade.
    dearest = min(max(dearest, reference // tick * tick + tick), high)
    cheapest = max(min(cheapest, ceil_div(reference, tick) * tick - tick), low)
    return (dearest if terms.side is Side.BUY else cheapest), dearest


def _automatic(instrument: Instrument, reference: int, slabs: Sequence[ProtectionSlab]) -> int:
    """Raises LookupError when no slab fits: the rules are incomplete."""
    for slab in slabs:
        if slab.kind is instrument.kind and (slab.price_below is None or reference < slab.price_below):
            return slab.basis_points
    raise LookupError(f"no market protection is given for {instrument.kind} at {reference}")
