"""What accounts may still promise, in a transaction that has locked their ledger rows: margin and shares.

Holdings are written by nobody without that lock. Called by storage/orders/submissions.py and trials.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from domain.margin import Block
from domain.money import rupees
from domain.orders import PlacedOrder, Product, Side
from domain.rejects import Refusal, RejectCode
from storage.database import Connection, columns

_LOCK_LEDGERS = """
    SELECT user_id, client_id, generation, version, available_cash
    FROM margin_ledger JOIN users USING (user_id)
    WHERE user_id = ANY(%s) ORDER BY user_id FOR UPDATE OF margin_ledger
"""
_FREE_SHARES = """
    SELECT user_id, instrument_id, quantity - blocked_quantity AS free FROM holdings
    WHERE (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""
# What is left to close of a position: its net quantity, less what orders at work are to close of it.
_CLOSABLE = """
    SELECT a.user_id, a.instrument_id, a.product, a.side,
           GREATEST(0, CASE a.side WHEN 'BUY' THEN p.sell_quantity - p.buy_quantity
                                   ELSE p.buy_quantity - p.sell_quantity END)
           - (SELECT COALESCE(sum(close_quantity), 0)::int FROM margin_holds h
              WHERE h.user_id = a.user_id AND h.state = 'BLOCKED' AND h.instrument_id = a.instrument_id
                AND h.product = p.product AND h.transaction_type = a.side::side) AS closable
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS a (user_id, instrument_id, product, side)
    JOIN positions p USING (user_id, instrument_id) WHERE p.product = a.product::product
"""
_Side = tuple[int, str, str, str]
"""User, instrument, product and side."""


class ReservationRequest(Protocol):
    """An order that asks for a promise, with its block in the margin view."""

    @property
    def placed(self) -> PlacedOrder: ...
    @property
    def block(self) -> Block: ...


class Reservation(NamedTuple):
    increase: int = 0
    """Paise bound for the account's whole portfolio, beside the order's own block."""
    refusal: Refusal | None = None
    stale: bool = False
    """The margin view was rebuilt since: block again."""

    @property
    def is_kept(self) -> bool:
        return self.refusal is None and not self.stale


@dataclass(slots=True)
class Accounts:
    """What the group may still promise, as its orders are taken one after the other."""

    generations: dict[int, int]
    versions: dict[int, int]
    """Of the books, as this transaction finds them."""
    client_ids: dict[int, str]
    available: dict[int, int]
    free_shares: dict[tuple[int, str], int]
    closable: dict[_Side, int] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    """Users whose margin view counts on closing what is no longer there: it is to be built anew."""

    def take(self, placed: PlacedOrder, block: Block) -> Reservation:
        """Promise margin and shares to the order, or say why not."""
        user_id, shares = placed.user_id, (placed.user_id, placed.terms.instrument_id)
        if user_id not in self.generations:
            return Reservation(refusal=Refusal(RejectCode.ACCOUNT_UNKNOWN))
        if self.generations[user_id] != block.generation:
            return Reservation(stale=True)
        side = _side(placed)
        if block.close_quantity > self.closable.get(side, 0):
            # A booking since the block has made less of the position, or promised it to another order.
            self.voided.add(user_id)
            return Reservation(stale=True)
        refusal = next(self.refusals(placed, block), None)
        if refusal is not None:
            return Reservation(refusal=refusal)
        if sells_holdings(placed):
            self.free_shares[shares] -= placed.terms.quantity
        self.available[user_id] -= block.required
        if block.close_quantity:
            self.closable[side] -= block.close_quantity
        return Reservation()

    def refusals(self, placed: PlacedOrder, block: Block) -> Iterator[Refusal]:
        """What the account lacks, of an account that is known."""
        available = self.available[placed.user_id]
        if block.required > max(available, 0):
            yield Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(available))
        if sells_holdings(placed):
            # Below zero where a purchase was taken back after its sale.
            free = max(self.free_shares.get((placed.user_id, placed.terms.instrument_id), 0), 0)
            if placed.terms.quantity > free:
                nearest = str(free) if free else None
                yield Refusal(RejectCode.HOLDINGS_INSUFFICIENT, "quantity", str(free), nearest)


async def lock_accounts(conn: Connection, asking: Sequence[ReservationRequest]) -> Accounts:
    """The ledger rows are locked; holdings and positions are written by nobody without that lock."""
    orders = [one.placed for one in asking]
    locked = await conn.execute(_LOCK_LEDGERS, (sorted({order.user_id for order in orders}),))
    rows = await locked.fetchall()
    return Accounts(
        {row["user_id"]: row["generation"] for row in rows},
        {row["user_id"]: row["version"] for row in rows},
        {row["user_id"]: row["client_id"] for row in rows},
        {row["user_id"]: row["available_cash"] for row in rows},
        await free_shares(conn, orders),
        await _closable(conn, asking),
    )


async def _closable(conn: Connection, asking: Sequence[ReservationRequest]) -> dict[_Side, int]:
    """What these orders may be promised to close; no statement when none of them closes."""
    closing = {_side(one.placed) for one in asking if one.block.close_quantity}
    if not closing:
        return {}
    found = await conn.execute(_CLOSABLE, columns(closing))
    names = ("user_id", "instrument_id", "product", "side")
    return {tuple(row[n] for n in names): row["closable"] async for row in found}


def _side(placed: PlacedOrder) -> _Side:
    terms = placed.terms
    return placed.user_id, terms.instrument_id, terms.product.value, terms.side.value


async def free_shares(conn: Connection, orders: Iterable[PlacedOrder]) -> dict[tuple[int, str], int]:
    """By user and instrument, what delivery sales among these orders may still be promised."""
    selling = {(order.user_id, order.terms.instrument_id) for order in orders if sells_holdings(order)}
    if not selling:
        return {}
    held = await conn.execute(_FREE_SHARES, columns(selling))
    return {(row["user_id"], row["instrument_id"]): row["free"] async for row in held}


def sells_holdings(placed: PlacedOrder) -> bool:
    """A delivery sale needs shares that no other order has been promised."""
    return placed.terms.product is Product.CNC and placed.terms.side is Side.SELL
