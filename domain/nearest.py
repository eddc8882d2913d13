"""The nearest legal value that a refusal offers: legal at all gates together, or none is offered.

Invariant: an order whose refused fields are all set to what was offered is not refused for them again, and
every refusal of a field offers the same. Called by the gates (validation, changes, price_bands), and by
whoever gathers refusals of several gates (`agreed`).
"""

from collections.abc import Sequence
from dataclasses import replace

from domain.instruments import Instrument
from domain.money import ceil_div, rupees
from domain.orders import OrderTerms, Side
from domain.rejects import Refusal, RejectCode
from domain.slicing import SLICES_MOST, slice_size


def nearest_price(
    price: int, instrument: Instrument, *, lowest: int = 0, highest: int | None = None
) -> int | None:
    """On the tick and in the band, and within these limits too; None where that leaves nothing."""
    tick = instrument.tick_size
    low = max(ceil_div(max(lowest, instrument.lower_band), tick) * tick, tick)
    top = instrument.upper_band if highest is None else min(highest, instrument.upper_band)
    high = top // tick * tick
    return min(max((price + tick // 2) // tick * tick, low), high) if low <= high else None


def nearest_trigger(terms: OrderTerms, instrument: Instrument) -> int | None:
    """The same, on the right side of the limit: as it stands where it can, else as it is offered."""
    assert terms.trigger_price is not None
    if terms.price is None:
        return nearest_price(terms.trigger_price, instrument)
    limit = nearest_price(terms.price, instrument)
    if limit is None:
        return None
    if terms.side is Side.BUY:
        at_most = min(limit, max(terms.price, instrument.lower_band))
        found = nearest_price(terms.trigger_price, instrument, highest=at_most)
        return found or nearest_price(terms.trigger_price, instrument, highest=limit)
    at_least = max(limit, min(terms.price, instrument.upper_band))
    found = nearest_price(terms.trigger_price, instrument, lowest=at_least)
    return found or nearest_price(terms.trigger_price, instrument, lowest=limit)


def nearest_quantity(
    quantity: int, instrument: Instrument, *, sliced: bool = False, above: int = 0
) -> int | None:
    """In whole lots, at most what one order, or a sliced one, may have, and above what is filled."""
    lot, largest = instrument.lot_size, slice_size(instrument)
    low = (above // lot + 1) * lot
    high = largest * SLICES_MOST if sliced else largest
    if low > high or largest > instrument.freeze_quantity:
        return None
    return min(max(quantity // lot * lot, low), high)


def agreed(refusals: Sequence[Refusal]) -> list[Refusal]:
    """The refusals of several gates, each offering what passes the others as well.

    A price beyond the protection is offered one inside of tick and band; a quantity is offered the least of
    those that each gate would take, or none where a gate takes not even one lot.
    """
    beyond = [refusal for refusal in refusals if refusal.code is RejectCode.PRICE_BEYOND_PROTECTION]
    offered = [int(r.nearest) for r in refusals if r.field == "quantity" and r.nearest is not None]
    least = str(min(offered)) if offered and min(offered) > 0 else None
    together = []
    for refusal in refusals:
        if refusal.field == "price" and beyond:
            refusal = replace(refusal, nearest=beyond[0].nearest)
        elif refusal.field == "quantity" and refusal.nearest is not None:
            refusal = replace(refusal, nearest=least)
        together.append(refusal)
    return together


def shown(price: int | None) -> str | None:
    return None if price is None else rupees(price)
