"""The margin book: what a hold is, what it costs, and how it lives.

A hold has one life: blocked, then used by fills (in part or whole), then the rest released. This is the
plain-Python twin of the Lua scripts in storage/lua, driven beside them by the same random steps in the
tests; the booking of fills in PostgreSQL uses the same functions, so the three agree by construction.

Invariant: `available` never falls below zero by a block. Each verb is keyed (order id, fill id), a repeat
returns the first answer. A verb of an older generation is void: the book has been rebuilt since and
already holds its effect.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from domain.money import ceil_div
from domain.orders import Product, Side

PERCENT = 100


def unit_margin(product: Product, side: Side, price: int, intraday_percent: int) -> int | None:
    """Margin in paise of one share that opens or grows a position at `price`; None: not known, refuse.

    Delivery buys are paid in full, delivery sells need the shares and no money; intraday needs
    `intraday_percent` of the value on either side (market-rules section 7).
    """
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

    @property
    def available(self) -> int:
        return self.cash + min(self.realized_pnl, 0) - self.blocked - self.used


class ResizeOutcome(StrEnum):
    RESIZED = "RESIZED"
    INSUFFICIENT = "INSUFFICIENT"
    VOID = "VOID"
    """The view is of another generation, or has no such hold: block or settle anew."""


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
    close_quantity: int
    used: int
    """Change of used margin: positive where quantity opens, negative where it closes."""
    realized_pnl: int


def use_of_fill(hold: Hold, quantity: int, unit_at_fill: int, net: int, margin: int, realized: int) -> Use:
    """How a fill of `quantity` consumes the hold.

    `net` and `margin` are the position's before the fill, `realized` the profit its closing part made.
    The hold's closing part goes first; margin follows what the fill does to the position, which a later order
    may have changed since the hold was split. A fill never uses more margin a unit than was blocked.
    Raises ValueError when the fill is larger than the hold.
    """
    closing = min(quantity, hold.close_quantity)
    opening = quantity - closing
    if opening > hold.open_quantity:
        raise ValueError(f"fill of {quantity} exceeds the hold ({hold.open_quantity}+{hold.close_quantity})")
    unit = min(unit_at_fill, hold.unit_margin)
    used = used_by_trade(hold.side, quantity, unit, net, margin) if hold.nets else quantity * unit
    return Use(opening, closing, used, realized)


def used_by_trade(side: Side, quantity: int, unit: int, net: int, margin: int) -> int:
    """Change of a netting position's margin: what opens takes `unit` each, what closes frees its part."""
    closing = min(quantity, max(0, -side.sign * net))
    freed = margin * closing // abs(net) if closing else 0
    return (quantity - closing) * unit - freed


def position_key(instrument_id: str, product: Product) -> str:
    return f"{instrument_id}|{product}"


@dataclass(slots=True)
class MarginBook:
    """One user's book in plain Python; the twin of load, block, fill and release."""

    account: Account | None = None
    net: dict[str, int] = field(default_factory=dict)
    reserved: dict[tuple[str, Side], int] = field(default_factory=dict)
    """Closing quantity promised to pending orders, by position and closing side."""
    holds: dict[int, Hold] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    fills: set[str] = field(default_factory=set)
    resizes: set[str] = field(default_factory=set)

    def load(self, account: Account, net: dict[str, int], holds: dict[int, Hold]) -> None:
        """Replace the view by the ledger's state, of a newer generation."""
        self.account, self.net, self.holds = account, dict(net), dict(holds)
        self.reserved, self.blocks, self.fills, self.resizes = {}, {}, set(), set()
        for order_id, hold in holds.items():
            self._reserve(hold, hold.close_quantity)
            self.blocks[order_id] = Block(
                BlockOutcome.BLOCKED,
                hold.open_quantity,
                hold.close_quantity,
                hold.unit_margin,
                account.available,
                account.generation,
            )

    def block(self, order_id: int, side: Side, position: str, nets: bool, quantity: int, unit: int) -> Block:
        """Block margin for an order, or say why not; the first answer stands for every repeat."""
        if self.account is None:
            return Block(BlockOutcome.BOOK_MISSING, 0, 0, unit, 0, 0)
        if order_id in self.blocks:
            return self.blocks[order_id]
        opposite = max(0, -side.sign * self.net.get(position, 0)) if nets else 0
        closing = min(quantity, max(0, opposite - self.reserved.get((position, side), 0)))
        available = self.account.available
        needed = (quantity - closing) * unit
        covered = needed <= max(available, 0)
        block = Block(
            BlockOutcome.BLOCKED if covered else BlockOutcome.INSUFFICIENT,
            quantity - closing,
            closing,
            unit,
            available,
            self.account.generation,
        )
        self.blocks[order_id] = block
        if covered:
            hold = Hold(side, position, nets, unit, quantity - closing, closing)
            self.holds[order_id] = hold
            self._reserve(hold, closing)
            self.account = replace(self.account, blocked=self.account.blocked + needed)
        return block

    def fill(self, fill_id: str, order_id: int, use: Use, generation: int) -> bool:
        """Move margin from blocked to used; False when it is void or already applied."""
        if self.account is None or self.account.generation != generation or fill_id in self.fills:
            return False
        hold = self.holds[order_id]
        self.fills.add(fill_id)
        self.account = replace(
            self.account,
            blocked=self.account.blocked - use.open_quantity * hold.unit_margin,
            used=self.account.used + use.used,
            realized_pnl=self.account.realized_pnl + use.realized_pnl,
        )
        self._reserve(hold, -use.close_quantity)
        if hold.nets:
            traded = hold.side.sign * (use.open_quantity + use.close_quantity)
            self.net[hold.position] = self.net.get(hold.position, 0) + traded
        self.holds[order_id] = replace(
            hold,
            open_quantity=hold.open_quantity - use.open_quantity,
            close_quantity=hold.close_quantity - use.close_quantity,
        )
        return True

    def resize(
        self, step_id: str, order_id: int, to: Hold, generation: int, *, must_be_covered: bool
    ) -> tuple[ResizeOutcome, int]:
        """Give a hold new terms; the outcome and what was available before."""
        if self.account is None or self.account.generation != generation or order_id not in self.holds:
            return ResizeOutcome.VOID, 0
        available, hold = self.account.available, self.holds[order_id]
        if step_id in self.resizes:
            return ResizeOutcome.RESIZED, available
        more = to.blocked - hold.blocked
        if must_be_covered and more > 0 and more > max(available, 0):
            return ResizeOutcome.INSUFFICIENT, available
        self.resizes.add(step_id)
        self.holds[order_id] = to
        self.account = replace(self.account, blocked=self.account.blocked + more)
        self._reserve(hold, to.close_quantity - hold.close_quantity)
        return ResizeOutcome.RESIZED, available

    def release(self, order_id: int, generation: int) -> int:
        """Give back what is left of a hold; returns the paise freed, 0 when void or repeated."""
        if self.account is None or self.account.generation != generation or order_id not in self.holds:
            return 0
        hold = self.holds[order_id]
        self._reserve(hold, -hold.close_quantity)
        self.account = replace(self.account, blocked=self.account.blocked - hold.blocked)
        self.holds[order_id] = replace(hold, open_quantity=0, close_quantity=0)
        return hold.blocked

    def _reserve(self, hold: Hold, quantity: int) -> None:
        key = hold.position, hold.side
        self.reserved[key] = self.reserved.get(key, 0) + quantity
