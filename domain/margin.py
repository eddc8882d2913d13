"""The margin book: what a hold is, what it costs, and how it lives.

A hold has one life: blocked, then used by fills (in part or whole), then the rest released. The booking of
fills in PostgreSQL, the Lua scripts in storage/margin/lua and their plain-Python twin (domain/margin_book.py)
use the same words and functions, so they agree by construction. Paise and shares throughout.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.instruments import InstrumentKind
from domain.money import ceil_div
from domain.orders import Product, Side

PERCENT = 100


def unit_margin(
    kind: InstrumentKind, product: Product, side: Side, price: int, intraday_percent: int
) -> int | None:
    """Margin in paise of one share that opens or grows a position at `price`; None: not known, refuse.

    Delivery buys are paid in full, delivery sells need the shares and no money; intraday needs
    `intraday_percent` of the value on either side. An option bought is paid upfront; all else that a
    derivative needs belongs to its portfolio (domain/portfolios.py). Source: market-rules section 7.
    """
    if kind.is_derivative:
        if product is Product.CNC:
            return None
        return price if kind is InstrumentKind.OPTION and side is Side.BUY else 0
    if product is Product.CNC:
        return price if side is Side.BUY else 0
    if product is Product.MIS:
        return ceil_div(price * intraday_percent, PERCENT)
    return None


@dataclass(frozen=True, slots=True)
class Account:
    """One user's margin. `generation` counts the rebuilds of the Redis view from the ledger."""

    cash: int
    realized_pnl: int = 0
    """Of the day: a loss counts at once, a profit only at settlement."""
    blocked: int = 0
    used: int = 0
    generation: int = 0
    portfolio_blocked: int = 0
    """Part of `blocked`: SPAN and exposure margin of what derivative orders may make of the portfolio."""
    portfolio_used: int = 0
    """Part of `used`: SPAN and exposure margin of the derivatives held."""
    portfolio_version: int = 0
    """Of these two; a later one replaces them, an earlier one is too late."""

    @property
    def available(self) -> int:
        return self.cash + min(self.realized_pnl, 0) - self.blocked - self.used


class ResizeOutcome(StrEnum):
    RESIZED = "RESIZED"
    INSUFFICIENT = "INSUFFICIENT"
    VOID = "VOID"
    """The view is of another generation or a later version, or has no such hold: block or settle anew."""


class BlockOutcome(StrEnum):
    BLOCKED = "BLOCKED"
    INSUFFICIENT = "INSUFFICIENT"
    BOOK_MISSING = "BOOK_MISSING"
    """Redis holds no view of this account (lost or never loaded): rebuild, then ask again."""


@dataclass(frozen=True, slots=True)
class Block:
    """The answer to a block. Quantities say which part opens a position and which part closes one."""

    outcome: BlockOutcome
    open_quantity: int
    close_quantity: int
    unit_margin: int
    available: int
    """Before this block."""
    generation: int

    @property
    def required(self) -> int:
        return self.open_quantity * self.unit_margin


@dataclass(frozen=True, slots=True)
class Hold:
    """What is left of an order's block: unfilled quantity only."""

    side: Side
    position: str
    """The position's key, `instrument|product`."""
    nets: bool
    """Closing trades free margin (not for delivery: its sales pay at settlement)."""
    unit_margin: int
    open_quantity: int
    close_quantity: int

    @property
    def blocked(self) -> int:
        return self.open_quantity * self.unit_margin


@dataclass(frozen=True, slots=True)
class Use:
    """What a fill does to the book: deltas that commute, computed under the ledger's row lock."""

    open_quantity: int
    """Taken out of the hold's opening part."""
    close_quantity: int
    used: int
    """Change of used margin: positive where quantity opens, negative where it closes."""
    realized_pnl: int
    excess_quantity: int = 0
    """Filled beyond the hold: the exchange's word stands, though our books cannot explain it."""

    @property
    def quantity(self) -> int:
        return self.open_quantity + self.close_quantity + self.excess_quantity


def use_of_fill(hold: Hold, quantity: int, unit: int, net: int, margin: int, realized: int) -> Use:
    """How a fill of `quantity` consumes the hold.

    `unit` is the margin of a share at the fill's price, `net` and `margin` are the position's before the
    fill, `realized` the profit its closing part made. The hold's closing part goes first; margin follows what
    the fill does to the position, which a later order may have changed since the hold was split. What it uses
    is the fill's own price's, also above what was blocked: a sale may trade above its limit.
    """
    closing = min(quantity, hold.close_quantity)
    opening = min(quantity - closing, hold.open_quantity)
    used = used_by_trade(hold.side, quantity, unit, net, margin) if hold.nets else quantity * unit
    return Use(opening, closing, used, realized, quantity - closing - opening)


def used_by_trade(side: Side, quantity: int, unit: int, net: int, margin: int) -> int:
    """Change of a netting position's margin: what opens takes `unit` each, what closes frees its part."""
    closing = min(quantity, max(0, -side.sign * net))
    freed = margin * closing // abs(net) if closing else 0
    return (quantity - closing) * unit - freed


def position_key(instrument_id: str, product: Product) -> str:
    return f"{instrument_id}|{product}"
