"""How far a price may go: bands around the previous close, and limit price protection.

Shares without derivatives have a fixed band; those with derivatives, and futures, one that flexes when the
market presses against it, after a cooling time, the other end sliding along. Futures and options are also
protected around what they last traded at. Prices are paise, widths basis points, limits lie on the tick and
inside the exact band. Rules are dated (config/rules.py; market-rules section 4), time is passed in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from domain.instruments import Instrument, InstrumentKind
from domain.money import ceil_div, round_half_up, rupees
from domain.nearest import nearest_price, shown
from domain.orders import OrderTerms, Side
from domain.rejects import Refusal, RejectCode

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class PriceLimits:
    low: int
    high: int

    def allow(self, price: int) -> bool:
        return self.low <= price <= self.high


@dataclass(frozen=True, slots=True)
class BandRules:
    width: int
    """Of the band at the start of the day, each way, in basis points."""
    flex: int
    reached_within: int
    """A price so near the end counts as pressing against it."""
    trades: int
    clients: int
    members: int
    """On each side of the trades."""
    cooling_ns: int


@dataclass(frozen=True, slots=True)
class PriceBand:
    """A band as it stands; `flex_due_ns` is set while it cools before flexing towards `flex_side`."""

    previous_close: int
    down: int
    up: int
    flex_due_ns: int | None = None
    flex_side: Side | None = None
    """BUY: the upper end is pressed."""

    def limits(self, tick: int) -> PriceLimits:
        low = ceil_div(self.previous_close * (BASIS_POINTS - self.down), BASIS_POINTS * tick) * tick
        high = self.previous_close * (BASIS_POINTS + self.up) // (BASIS_POINTS * tick) * tick
        return PriceLimits(max(low, tick), high)


@dataclass(frozen=True, slots=True)
class Pressure:
    """Trades at or beyond `price` since the band last moved."""

    side: Side
    price: int
    trades: int
    clients: int
    """Distinct clients, and distinct members, on the side that has fewer."""
    members: int


def fixed_band(previous_close: int, width: int) -> PriceBand:
    """A band of `width` basis points each way."""
    return PriceBand(previous_close, width, width)


def band_after(band: PriceBand, pressure: Pressure | None, now_ns: int, rules: BandRules) -> PriceBand:
    """The band at this instant: flexed when it has cooled, cooling when pressure begins, or as it was."""
    if band.flex_due_ns is not None:
        if now_ns < band.flex_due_ns or band.flex_side is None:
            return band
        return flexed(band, band.flex_side, rules)
    if pressure is not None and _is_pressing(band, pressure, rules):
        return replace(band, flex_due_ns=now_ns + rules.cooling_ns, flex_side=pressure.side)
    return band


def flexed(band: PriceBand, side: Side, rules: BandRules) -> PriceBand:
    """The band wider at the pressed end, the other end slid along."""
    shift = rules.flex if side is Side.BUY else -rules.flex
    return PriceBand(band.previous_close, band.down - shift, band.up + shift)


def _is_pressing(band: PriceBand, pressure: Pressure, rules: BandRules) -> bool:
    moved = (pressure.price - band.previous_close) * pressure.side.sign * BASIS_POINTS
    end = band.up if pressure.side is Side.BUY else band.down
    return (
        moved >= (end - rules.reached_within) * band.previous_close
        and pressure.trades >= rules.trades
        and pressure.clients >= rules.clients
        and pressure.members >= rules.members
    )


def is_cancelled_by_band(price: int, limits: PriceLimits, *, waits_for_trigger: bool) -> bool:
    """Whether a resting order falls when the band moves; a stop is looked at only when it triggers."""
    return not waits_for_trigger and not limits.allow(price)


@dataclass(frozen=True, slots=True)
class ProtectionRule:
    """Limit price protection of one kind, up to a reference price; exactly one of the widths is given."""

    kind: InstrumentKind
    reference_at_most: int | None
    width: int | None
    """In paise."""
    width_basis_points: int | None
    window_ns: int
    """The reference price is the average over so long."""


@dataclass(frozen=True, slots=True)
class Print:
    """A trade as the tape tells it."""

    time_ns: int
    price: int
    quantity: int


def reference_price(prints: Iterable[Print], now_ns: int, window_ns: int) -> int | None:
    """The average trade price of the last window, weighted by quantity; None without a trade in it."""
    recent = [trade for trade in prints if now_ns - window_ns < trade.time_ns <= now_ns]
    quantity = sum(trade.quantity for trade in recent)
    if not quantity:
        return None
    return round_half_up(sum(trade.price * trade.quantity for trade in recent), quantity)


def protection_limits(
    kind: InstrumentKind, reference: int, tick: int, rules: Sequence[ProtectionRule]
) -> PriceLimits | None:
    """Within which an order may be priced; None where no rule speaks of the kind."""
    for rule in rules:
        if rule.kind is kind and (rule.reference_at_most is None or reference <= rule.reference_at_most):
            width = rule.width * BASIS_POINTS if rule.width is not None else 0
            width += reference * (rule.width_basis_points or 0)
            low = ceil_div(reference * BASIS_POINTS - width, BASIS_POINTS * tick) * tick
            high = (reference * BASIS_POINTS + width) // (BASIS_POINTS * tick) * tick
            return PriceLimits(max(low, tick), high)
    return None


def protection_refusal(
    terms: OrderTerms, instrument: Instrument, reference: int, rules: Sequence[ProtectionRule]
) -> Refusal | None:
    """Whether the exchange would refuse a limit order as too far from the last trades, at `reference`."""
    limits = protection_limits(instrument.kind, reference, instrument.tick_size, rules)
    if limits is None or terms.price is None or not is_protected_against(terms.side, terms.price, limits):
        return None
    if terms.side is Side.BUY:
        nearest = nearest_price(terms.price, instrument, highest=limits.high)
    else:
        nearest = nearest_price(terms.price, instrument, lowest=limits.low)
    between = f"{rupees(limits.low)} to {rupees(limits.high)}"
    return Refusal(RejectCode.PRICE_BEYOND_PROTECTION, "price", between, shown(nearest))


def is_protected_against(side: Side, price: int, limits: PriceLimits) -> bool:
    """Whether the exchange rejects the price: a BUY above the high or a SELL below the low."""
    return price > limits.high if side is Side.BUY else price < limits.low
