"""An order above the exchange's freeze quantity, as several that are not: one parent, its slices in order.

The parent is whole where money is asked for, all or none of it; each slice is an order of its own from then
on. Called by the API, the intake, the submitting transaction and the wind-down's closing orders.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from domain.instruments import Instrument
from domain.margin import Block
from domain.orders import OrderStatus

SLICES_MOST = 20
_UNDER_WAY = (
    OrderStatus.PENDING_VALIDATION,
    OrderStatus.PARTIALLY_FILLED,
    OrderStatus.OPEN,
    OrderStatus.TRIGGER_PENDING,
    OrderStatus.PENDING_OPEN,
)
_ENDED = (OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.EXECUTED)


def slice_size(instrument: Instrument) -> int:
    """The largest quantity of one order, in whole lots."""
    lot = instrument.lot_size
    return max(lot, instrument.freeze_quantity // lot * lot)


def slices(quantity: int, instrument: Instrument) -> list[int]:
    """Quantities of the orders that together make `quantity`, the largest first."""
    whole, rest = divmod(quantity, slice_size(instrument))
    return [slice_size(instrument)] * whole + ([rest] if rest else [])


def parts(block: Block, quantities: Sequence[int]) -> Iterator[Block]:
    """The whole's block as one for each slice: what closes a position goes first."""
    closing = block.close_quantity
    for quantity in quantities:
        closes = min(quantity, closing)
        closing -= closes
        yield replace(block, open_quantity=quantity - closes, close_quantity=closes)


def whole_status(statuses: Sequence[OrderStatus], filled: int) -> OrderStatus:
    """Of an order whose slices stand so: under way while any is, then the least that any came to."""
    seen = set(statuses)
    if len(seen) == 1:
        return statuses[0]
    under_way = [status for status in _UNDER_WAY if status in seen]
    if under_way and filled and under_way[0] is not OrderStatus.PENDING_VALIDATION:
        return OrderStatus.PARTIALLY_FILLED
    return next(status for status in (*under_way, *_ENDED, OrderStatus.SETTLED) if status in seen)
