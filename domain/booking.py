"""What fills do to one user's books: a pure step over the books as they were read under the ledger's lock.

A fill changes a holding (delivery) or a position (intraday, derivatives), realises profit, and moves margin
from the order's hold to used; what is left of a final order's hold is given back. Paise and units throughout.
The booking transaction (storage/books/booking.py) reads, applies these steps in the order of the reports, and
writes.
"""

from dataclasses import dataclass, field, replace
from datetime import date

from domain.changes import settled
from domain.instruments import InstrumentKind
from domain.margin import Hold, Use, position_key, unit_margin, use_of_fill
from domain.orders import OrderTerms, Product, Side
from domain.positions import Holding, Position

PositionKey = tuple[str, Product]
"""Instrument id and product."""


@dataclass(frozen=True, slots=True)
class BookedFill:
    """What one fill did."""

    use: Use
    realized_pnl: int
    """Of the closing part; a delivery sale's profit is not margin before it settles, so not in `use`."""
    unit_margin: int
    """Used by each share that opens."""
    left: Hold
    """Of the order's hold."""


@dataclass(frozen=True, slots=True)
class Resized:
    """What an answered change did to the order's hold."""

    before: Hold
    after: Hold


@dataclass(frozen=True, slots=True)
class Reopened:
    """A pending order was to close what is no longer there: that part of its hold opens instead."""

    order_id: int
    before: Hold
    after: Hold


@dataclass(slots=True)
class UserBooks:
    """The parts of one user's books that the orders at hand touch."""

    holds: dict[int, Hold] = field(default_factory=dict)
    """By order id; only orders that were submitted have one. Of a netting position, all that are live."""
    holdings: dict[str, Holding] = field(default_factory=dict)
    positions: dict[PositionKey, Position] = field(default_factory=dict)

    def book_fill(
        self,
        order_id: int,
        terms: OrderTerms,
        kind: InstrumentKind,
        quantity: int,
        price: int,
        intraday_percent: int,
        day: date,
    ) -> BookedFill:
        """Apply one fill of a day, whatever the hold is: what the exchange says has happened has happened."""
        hold = self.holds.get(order_id) or _no_hold(terms)
        unit = unit_margin(kind, terms.product, terms.side, price, intraday_percent)
        # No gate lets an order pass whose margin is not known; one that trades all the same is paid in full.
        unit = price if unit is None else unit
        if terms.product is Product.CNC:
            use = use_of_fill(hold, quantity, unit, net=0, margin=0, realized=0)
            realized = self._book_holding(terms, quantity, price, quantity - use.excess_quantity)
            use = replace(use, used=self._pay(terms, quantity, price, unit, day))
        else:
            use = self._book_position(hold, terms, quantity, price, unit)
            realized = use.realized_pnl
        left = replace(
            hold,
            open_quantity=hold.open_quantity - use.open_quantity,
            close_quantity=hold.close_quantity - use.close_quantity,
        )
        if order_id in self.holds:
            self.holds[order_id] = left
        return BookedFill(use, realized, unit, left)

    def reopen(self, terms: OrderTerms) -> list[Reopened]:
        """The position of these terms has changed: no more of it stays promised than there is to close.

        The newest orders give way. What they block instead, the position's smaller margin has just freed.
        """
        if terms.product is Product.CNC:
            return []
        net = self.positions.get((terms.instrument_id, terms.product), Position()).net_quantity
        key = position_key(terms.instrument_id, terms.product)
        changed = []
        for side in Side:
            closing = {
                i: h
                for i, h in self.holds.items()
                if h.close_quantity and (h.position, h.side) == (key, side)
            }
            excess = sum(h.close_quantity for h in closing.values()) - max(0, -side.sign * net)
            for order_id in sorted(closing, reverse=True):
                before = closing[order_id]
                moved = min(before.close_quantity, max(0, excess))
                if moved:
                    after = replace(
                        before,
                        open_quantity=before.open_quantity + moved,
                        close_quantity=before.close_quantity - moved,
                    )
                    self.holds[order_id] = after
                    changed.append(Reopened(order_id, before, after))
                    excess -= moved
        return changed

    def settle(self, order_id: int, terms: OrderTerms, unit: int, quantity: int, filled: int) -> Resized:
        """The exchange has answered a change: the hold is what the order needs as it now stands."""
        before = self.holds[order_id]
        after = settled(before, unit, quantity, filled)
        self.holds[order_id] = after
        if terms.product is Product.CNC and terms.side is Side.SELL:
            shares = after.open_quantity + after.close_quantity - before.open_quantity - before.close_quantity
            holding = self.holdings[terms.instrument_id]
            promised = replace(holding, blocked_quantity=holding.blocked_quantity + shares)
            self.holdings[terms.instrument_id] = promised
        return Resized(before, after)

    def close(self, order_id: int, terms: OrderTerms) -> Hold | None:
        """The order is final: what was left of its hold, given back, money and shares; None when nothing."""
        hold = self.holds.get(order_id)
        if hold is None or not (left := hold.open_quantity + hold.close_quantity):
            return None
        self.holds[order_id] = replace(hold, open_quantity=0, close_quantity=0)
        if terms.product is Product.CNC and terms.side is Side.SELL:
            holding = self.holdings[terms.instrument_id]
            freed = replace(holding, blocked_quantity=holding.blocked_quantity - left)
            self.holdings[terms.instrument_id] = freed
        return hold

    def _book_holding(self, terms: OrderTerms, quantity: int, price: int, promised: int) -> int:
        before = self.holdings.get(terms.instrument_id, Holding())
        bought = terms.side is Side.BUY
        after, realized = before.bought(quantity, price) if bought else before.sold(quantity, price, promised)
        self.holdings[terms.instrument_id] = after
        return realized

    def _pay(self, terms: OrderTerms, quantity: int, price: int, unit: int, day: date) -> int:
        """What a delivery binds, or a sale of shares bought on the same day gives back."""
        holding = self.holdings[terms.instrument_id]
        of_day, used = holding.purchases.traded(terms.side, quantity, price, unit, day)
        self.holdings[terms.instrument_id] = holding.with_purchases(of_day)
        return used

    def _book_position(self, hold: Hold, terms: OrderTerms, quantity: int, price: int, unit: int) -> Use:
        key = terms.instrument_id, terms.product
        before = self.positions.get(key, Position())
        after = before.traded(terms.side, quantity, price)
        realized = after.realized_pnl - before.realized_pnl
        use = use_of_fill(hold, quantity, unit, before.net_quantity, before.margin, realized)
        self.positions[key] = replace(after, margin=before.margin + use.used)
        return use


def _no_hold(terms: OrderTerms) -> Hold:
    """The hold of an order that was never submitted."""
    key = position_key(terms.instrument_id, terms.product)
    return Hold(terms.side, key, terms.product is not Product.CNC, 0, 0, 0)
