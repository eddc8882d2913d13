"""What the exchange refuses at the door, as a straight line of checks, cheapest first.

Reasons are FIX OrdRejReason (103) values; where FIX 4.2 lacks one the codec says "other" and the text, which
starts with a stable word, tells it. Numbers come from the instrument master, what a phase takes from
domain/sessions.py. Called by venue.py for new orders, replacements and cancels.
"""

from collections.abc import Iterator
from itertools import chain

from domain.instructions import NewOrder, ReplaceOrder
from domain.instruments import Instrument, InstrumentKind
from domain.money import rupees
from domain.orders import OrderType
from domain.rejects import RejectCode
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS

EXCHANGE_OPTION = 0
UNKNOWN_SYMBOL = 1
EXCHANGE_CLOSED = 2
EXCEEDS_LIMIT = 3
DUPLICATE_ORDER = 6
UNSUPPORTED = 11

PRICED = frozenset({OrderType.LIMIT, OrderType.SL})
TRIGGERED = frozenset({OrderType.SL, OrderType.SL_M})
Door = tuple[int, str]


Band = tuple[int, int]
"""Lowest and highest price."""


def refusal(
    order: NewOrder | ReplaceOrder, instrument: Instrument | None, phase: MarketPhase, band: Band
) -> Door | None:
    """(OrdRejReason, Text) of the first rule the order breaks, None when it may enter."""
    if instrument is None or instrument.kind is InstrumentKind.INDEX or not instrument.tradable:
        return UNKNOWN_SYMBOL, f"{RejectCode.INSTRUMENT_UNKNOWN}: {order.symbol} is not traded here"
    return next(chain(_untimely(order, phase), _broken(order, instrument, band)), None)


def frozen(resting: OrderType, phase: MarketPhase, *, modify: bool) -> str | None:
    """Why a resting order may not be modified or cancelled in this phase; None when it may."""
    permission = PERMISSIONS[phase]
    if not (permission.modify if modify else permission.cancel):
        return f"{RejectCode.MARKET_CLOSED}: the market is in {phase}"
    if resting in permission.fixed:
        return f"{RejectCode.ORDER_TYPE_NOT_SUPPORTED}: a {resting} order is fixed in {phase}"
    return None


def _untimely(order: NewOrder | ReplaceOrder, phase: MarketPhase) -> Iterator[Door]:
    permission = PERMISSIONS[phase]
    if not permission.order_types:
        yield EXCHANGE_CLOSED, f"{RejectCode.MARKET_CLOSED}: the market is in {phase}"
    if order.order_type not in permission.order_types:
        yield UNSUPPORTED, f"{RejectCode.ORDER_TYPE_NOT_SUPPORTED}: no {order.order_type} order in {phase}"
    if order.validity not in permission.validities:
        yield UNSUPPORTED, f"{RejectCode.VALIDITY_NOT_SUPPORTED}: no {order.validity} order in {phase}"


def _broken(order: NewOrder | ReplaceOrder, instrument: Instrument, band: Band) -> Iterator[Door]:
    quantity, lot = order.quantity, instrument.lot_size
    if quantity <= 0 or quantity % lot:
        yield (
            EXCHANGE_OPTION,
            f"{RejectCode.QUANTITY_NOT_LOT_MULTIPLE}: {quantity} is not a multiple of {lot}",
        )
    if quantity > instrument.freeze_quantity:
        yield (
            EXCEEDS_LIMIT,
            f"{RejectCode.QUANTITY_ABOVE_FREEZE}: {quantity} is above {instrument.freeze_quantity}",
        )
    if order.order_type in PRICED:
        yield from _price(order.price, instrument, band)
    if order.order_type in TRIGGERED:
        yield from _price(order.trigger_price, instrument, band)


def _price(price: int | None, instrument: Instrument, band: Band) -> Iterator[Door]:
    if price is None:
        yield EXCHANGE_OPTION, f"{RejectCode.PRICE_REQUIRED}: the order type demands it"
        return
    if price % instrument.tick_size:
        tick = rupees(instrument.tick_size)
        yield (
            EXCHANGE_OPTION,
            f"{RejectCode.PRICE_NOT_TICK_MULTIPLE}: {rupees(price)} is not a multiple of {tick}",
        )
    low, high = band
    if not low <= price <= high:
        limits = f"{rupees(low)} to {rupees(high)}"
        yield EXCEEDS_LIMIT, f"{RejectCode.PRICE_OUT_OF_BAND}: {rupees(price)} is outside {limits}"
