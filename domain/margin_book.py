"""One user's margin book in plain Python: the twin of the Lua scripts in storage/margin/lua.

Driven beside them by the same random steps in the tests, the state compared after each.

Invariant: `available` never falls below zero by a block. Each verb is keyed (order id, fill id), a repeat
changes nothing. A verb of an older generation is void: the book has been rebuilt since and
already holds its effect.
"""

from dataclasses import dataclass, field, replace

from domain.margin import Account, Block, BlockOutcome, Hold, ResizeOutcome, Use
from domain.orders import Side


@dataclass(slots=True)
class MarginBook:
    """The twin of load, block, fill, resize, remargin and release."""

    account: Account | None = None
    net: dict[str, int] = field(default_factory=dict)
    reserved: dict[tuple[str, Side], int] = field(default_factory=dict)
    """Closing quantity promised to pending orders, by position and closing side."""
    holds: dict[int, Hold] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    fills: set[str] = field(default_factory=set)

    def load(self, account: Account, net: dict[str, int], holds: dict[int, Hold]) -> None:
        """Replace the view by the ledger's state, of a newer generation."""
        self.account, self.net, self.holds = account, dict(net), dict(holds)
        self.reserved, self.blocks, self.fills = {}, {}, set()
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
        """Block margin for an order, or say why not; what was blocked stands for every repeat."""
        if self.account is None:
            return Block(BlockOutcome.BOOK_MISSING, 0, 0, unit, 0, 0)
        first = self.blocks.get(order_id)
        if first is not None and first.outcome is BlockOutcome.BLOCKED:
            return first
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

    def fill(self, fill_id: str, order_id: int, use: Use, left: Hold, generation: int) -> bool:
        """Move margin from blocked to used; False when it is void or already applied.

        `left` is what the fill leaves of the order's hold, an empty one where it has none.
        """
        if self.account is None or self.account.generation != generation:
            return False
        if order_id in self.holds:
            self._set(order_id, left)
        if fill_id in self.fills:
            return False
        self.fills.add(fill_id)
        used, realized = self.account.used + use.used, self.account.realized_pnl + use.realized_pnl
        self.account = replace(self.account, used=used, realized_pnl=realized)
        if left.nets:
            self.net[left.position] = self.net.get(left.position, 0) + left.side.sign * use.quantity
        return True

    def resize(
        self, order_id: int, to: Hold, generation: int, *, must_be_covered: bool
    ) -> tuple[ResizeOutcome, int]:
        """Give a hold new terms; the outcome and what was available before."""
        if self.account is None or self.account.generation != generation or order_id not in self.holds:
            return ResizeOutcome.VOID, 0
        available, more = self.account.available, to.blocked - self.holds[order_id].blocked
        if must_be_covered and more > 0 and more > max(available, 0):
            return ResizeOutcome.INSUFFICIENT, available
        self._set(order_id, to)
        return ResizeOutcome.RESIZED, available

    def remargin(
        self, blocked: int, used: int, version: int, generation: int, *, must_be_covered: bool
    ) -> tuple[ResizeOutcome, int]:
        """Give the derivatives their margin as it was reckoned; the outcome and what was available before."""
        account = self.account
        if account is None or account.generation != generation or version < account.portfolio_version:
            return ResizeOutcome.VOID, 0
        more_blocked, more_used = blocked - account.portfolio_blocked, used - account.portfolio_used
        more, available = more_blocked + more_used, account.available
        if must_be_covered and more > 0 and more > max(available, 0):
            return ResizeOutcome.INSUFFICIENT, available
        self.account = replace(
            account,
            blocked=account.blocked + more_blocked,
            used=account.used + more_used,
            portfolio_blocked=blocked,
            portfolio_used=used,
            portfolio_version=version,
        )
        return ResizeOutcome.RESIZED, available

    def release(self, order_id: int, generation: int) -> int:
        """Give back what is left of a hold; returns the paise freed, 0 when void or repeated."""
        if self.account is None or self.account.generation != generation or order_id not in self.holds:
            return 0
        hold = self.holds[order_id]
        self._set(order_id, replace(hold, open_quantity=0, close_quantity=0))
        return hold.blocked

    def _set(self, order_id: int, to: Hold) -> None:
        """A live hold's terms from now on; what is blocked and reserved follows."""
        assert self.account is not None
        hold = self.holds[order_id]
        self.holds[order_id] = to
        self.account = replace(self.account, blocked=self.account.blocked + to.blocked - hold.blocked)
        self._reserve(hold, to.close_quantity - hold.close_quantity)

    def _reserve(self, hold: Hold, quantity: int) -> None:
        key = hold.position, hold.side
        self.reserved[key] = self.reserved.get(key, 0) + quantity
