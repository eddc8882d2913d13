"""What the exchange refuses at the door, as a straight line of checks, cheapest first.

Reasons are FIX OrdRejReason (103) values that FIX 4.2 and 5.0 share; the text starts with a stable word.
Numbers come from the instrument master. Called by venue.py for new orders and replacements.
"""

from collections.abc import Iterator

from domain.instructions import NewOrder, ReplaceOrder
from domain.instruments import Instrument, InstrumentKind
from domain.money import rupees
from domain.orders import OrderType, Validity
from domain.rejects import RejectCode
from domain.reports import MarketPhase

EXCHANGE_OPTION = 0
UNKNOWN_SYMBOL = 1
EXCHANGE_CLOSED = 2
EXCEEDS_LIMIT = 3
DUPLICATE_ORDER = 6

PRICED = frozenset({OrderType.LIMIT, OrderType.SL})
TRIGGERED = frozenset({OrderType.SL, OrderType.SL_M})
Door = tuple[int, str]


def refusal(order: NewOrder | ReplaceOrder, instrument: Instrument | None, phase: MarketPhase) -> Door | None:
    """(OrdRejReason, Text) of the first rule the order breaks, None when it may enter."""
    if instrument is None or instrument.kind is InstrumentKind.INDEX or not instrument.tradable:
        return UNKNOWN_SYMBOL, f"{RejectCode.INSTRUMENT_UNKNOWN}: {order.symbol} is not traded here"
    if phase is not MarketPhase.CONTINUOUS:
        return EXCHANGE_CLOSED, f"{RejectCode.MARKET_CLOSED}: the market is in {phase}"
    return next(_broken(order, instrument), None)


def _broken(order: NewOrder | ReplaceOrder, instrument: Instrument) -> Iterator[Door]:
    quantity, lot = order.quantity, instrument.lot_size
    if order.validity is Validity.GTT:
        yield EXCHANGE_OPTION, f"{RejectCode.VALIDITY_NOT_SUPPORTED}: {order.validity}"
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
        yield from _price(order.price, instrument)
    if order.order_type in TRIGGERED:
        yield from _price(order.trigger_price, instrument)


def _price(price: int | None, instrument: Instrument) -> Iterator[Door]:
    if price is None:
        yield EXCHANGE_OPTION, f"{RejectCode.PRICE_REQUIRED}: the order type demands it"
        return
    if price % instrument.tick_size:
        tick = rupees(instrument.tick_size)
        yield (
            EXCHANGE_OPTION,
            f"{RejectCode.PRICE_NOT_TICK_MULTIPLE}: {rupees(price)} is not a multiple of {tick}",
        )
    if not instrument.lower_band <= price <= instrument.upper_band:
        band = f"{rupees(instrument.lower_band)} to {rupees(instrument.upper_band)}"
        yield EXCEEDS_LIMIT, f"{RejectCode.PRICE_OUT_OF_BAND}: {rupees(price)} is outside {band}"
