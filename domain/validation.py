"""The gates an order's terms must pass, as a straight line of checks, cheapest first.

The API asks before it acknowledges (what no later state could mend), the workflow asks again, and then for
the market's phase (domain/exchange_terms.py); both get every failure at once, in order of precedence. Rules:
market-rules sections 4 and 5 (bands, tick, lot and freeze come from the instrument, never from literals
here).
"""

from collections.abc import Iterator
from datetime import date

from domain.instruments import Instrument, InstrumentKind, Segment
from domain.money import rupees
from domain.nearest import nearest_price, nearest_quantity, nearest_trigger, shown
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.rejects import Refusal, RejectCode
from domain.slicing import SLICES_MOST, slice_size

PRICED = frozenset({OrderType.LIMIT, OrderType.SL})
TRIGGERED = frozenset({OrderType.SL, OrderType.SL_M})
PROTECTION_MOST = 10_000
"""Basis points."""
PRODUCTS = {
    Segment.CASH: frozenset({Product.CNC, Product.MIS}),
    Segment.FO: frozenset({Product.NRML, Product.MIS}),
}

UNRECKONABLE = frozenset(
    {
        RejectCode.INSTRUMENT_UNKNOWN,
        RejectCode.INSTRUMENT_NOT_TRADABLE,
        RejectCode.PRODUCT_NOT_ALLOWED,
        RejectCode.PRICE_REQUIRED,
        RejectCode.PRICE_NOT_ALLOWED,
        RejectCode.TRIGGER_PRICE_REQUIRED,
        RejectCode.TRIGGER_PRICE_NOT_ALLOWED,
        RejectCode.TRIGGER_PRICE_OUT_OF_BAND,
        RejectCode.QUANTITY_NOT_POSITIVE,
        RejectCode.PRICE_NOT_POSITIVE,
        RejectCode.MARKET_PROTECTION_OUT_OF_RANGE,
        RejectCode.MARGIN_UNKNOWN,
    }
)
"""With one of these, what an order would block and cost has no meaning; with any other it has."""


def terms_refusals(
    terms: OrderTerms, instrument: Instrument | None, today: date, *, sliced: bool = False, filled: int = 0
) -> list[Refusal]:
    """Every reason for which these terms can never be an order today; empty when they can. With `sliced` the
    order may be above the freeze quantity; with `filled` it must be above that.
    """
    if instrument is None:
        return [Refusal(RejectCode.INSTRUMENT_UNKNOWN, "instrument_id")]
    return [
        *_tradability(instrument, today),
        *_kind(terms, instrument),
        *_prices_given(terms),
        *_quantity(terms.quantity, instrument, sliced, filled),
        *_price(terms, instrument),
        *_trigger(terms, instrument),
        *_protection(terms),
    ]


def _tradability(instrument: Instrument, today: date) -> Iterator[Refusal]:
    if not instrument.tradable or instrument.kind is InstrumentKind.INDEX:
        yield Refusal(RejectCode.INSTRUMENT_NOT_TRADABLE, "instrument_id")
    if instrument.expiry is not None and instrument.expiry < today:
        yield Refusal(RejectCode.INSTRUMENT_EXPIRED, "instrument_id", instrument.expiry.isoformat())


def _kind(terms: OrderTerms, instrument: Instrument) -> Iterator[Refusal]:
    if terms.validity is Validity.GTT:
        yield Refusal(RejectCode.VALIDITY_NOT_SUPPORTED, "validity", "DAY, IOC")
    if terms.product not in PRODUCTS[instrument.segment]:
        allowed = ", ".join(sorted(PRODUCTS[instrument.segment]))
        yield Refusal(RejectCode.PRODUCT_NOT_ALLOWED, "product", allowed)


def _prices_given(terms: OrderTerms) -> Iterator[Refusal]:
    if terms.order_type in PRICED and terms.price is None:
        yield Refusal(RejectCode.PRICE_REQUIRED, "price")
    if terms.order_type not in PRICED and terms.price is not None:
        yield Refusal(RejectCode.PRICE_NOT_ALLOWED, "price")
    if terms.order_type in TRIGGERED and terms.trigger_price is None:
        yield Refusal(RejectCode.TRIGGER_PRICE_REQUIRED, "trigger_price")
    if terms.order_type not in TRIGGERED and terms.trigger_price is not None:
        yield Refusal(RejectCode.TRIGGER_PRICE_NOT_ALLOWED, "trigger_price")


def _protection(terms: OrderTerms) -> Iterator[Refusal]:
    if terms.market_protection is None:
        return
    if terms.order_type in PRICED or not 0 < terms.market_protection <= PROTECTION_MOST:
        unpriced = "0.01 to 100 percent, for MARKET and SL-M"
        yield Refusal(RejectCode.MARKET_PROTECTION_OUT_OF_RANGE, "market_protection", unpriced)


def _quantity(quantity: int, instrument: Instrument, sliced: bool, filled: int) -> Iterator[Refusal]:
    lot, freeze, largest = instrument.lot_size, instrument.freeze_quantity, slice_size(instrument)
    found = nearest_quantity(quantity, instrument, sliced=sliced, above=filled)
    nearest = None if found is None else str(found)
    if quantity <= 0:
        yield Refusal(RejectCode.QUANTITY_NOT_POSITIVE, "quantity", nearest=nearest)
        return
    if quantity % lot:
        yield Refusal(RejectCode.QUANTITY_NOT_LOT_MULTIPLE, "quantity", str(lot), nearest)
    if quantity > freeze and not sliced:
        yield Refusal(RejectCode.QUANTITY_ABOVE_FREEZE, "quantity", str(freeze), nearest)
    if sliced and quantity > SLICES_MOST * largest:
        yield Refusal(RejectCode.TOO_MANY_SLICES, "quantity", str(SLICES_MOST * largest), nearest)
    if 0 < quantity <= filled:
        yield Refusal(RejectCode.QUANTITY_BELOW_FILLED, "quantity", str(filled), nearest)


def _price(terms: OrderTerms, instrument: Instrument) -> Iterator[Refusal]:
    if terms.price is None:
        return
    nearest = shown(nearest_price(terms.price, instrument))
    if terms.price <= 0:
        yield Refusal(RejectCode.PRICE_NOT_POSITIVE, "price", nearest=nearest)
        return
    codes = RejectCode.PRICE_NOT_TICK_MULTIPLE, RejectCode.PRICE_OUT_OF_BAND
    yield from _on_grid(terms.price, "price", instrument, *codes, nearest)


def _trigger(terms: OrderTerms, instrument: Instrument) -> Iterator[Refusal]:
    trigger = terms.trigger_price
    if trigger is None or terms.order_type not in TRIGGERED:
        return
    nearest = shown(nearest_trigger(terms, instrument))
    codes = RejectCode.TRIGGER_PRICE_NOT_TICK_MULTIPLE, RejectCode.TRIGGER_PRICE_OUT_OF_BAND
    yield from _on_grid(trigger, "trigger_price", instrument, *codes, nearest)
    # A buy stop triggers at or below its limit, a sell stop at or above it (NSE).
    if terms.price is not None:
        beyond = trigger > terms.price if terms.side is Side.BUY else trigger < terms.price
        if beyond:
            limit = rupees(terms.price)
            yield Refusal(RejectCode.TRIGGER_PRICE_WRONG_SIDE, "trigger_price", limit, nearest)


def _on_grid(
    price: int,
    field: str,
    instrument: Instrument,
    off_tick: RejectCode,
    out_of_band: RejectCode,
    nearest: str | None,
) -> Iterator[Refusal]:
    tick, low, high = instrument.tick_size, instrument.lower_band, instrument.upper_band
    if price % tick:
        yield Refusal(off_tick, field, rupees(tick), nearest)
    if not low <= price <= high:
        yield Refusal(out_of_band, field, f"{rupees(low)} to {rupees(high)}", nearest)
