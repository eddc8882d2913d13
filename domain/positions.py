"""Average-price accounting of holdings and positions, realised apart from unrealised.

A position's open cost is exact: it is reduced in proportion when quantity closes, so nothing is lost to
a rounded average. A trade that crosses zero closes the old side at its cost and opens the new side at
the trade's price. Paise and units throughout; the caller is the booking of a fill.
"""

from dataclasses import dataclass, replace
from datetime import date

from domain.orders import Side


@dataclass(frozen=True, slots=True)
class DayPurchases:
    """Delivery shares bought on a day and not sold on it: the clearing house nets the two, so a sale gives
    back what its shares were paid, though never more than it brought."""

    on: date | None = None
    quantity: int = 0
    margin: int = 0
    """Used by them."""

    def traded(
        self, side: Side, quantity: int, price: int, unit: int, day: date
    ) -> tuple["DayPurchases", int]:
        """After a trade of `day`, `unit` the margin of a share bought; and the change of used margin."""
        if self.on is not None and day < self.on:
            # A report that came late: it is paid for, and nets nothing of another day.
            return self, quantity * unit
        own = self if self.on == day else DayPurchases(day)
        if side is Side.BUY:
            paid = quantity * unit
            return DayPurchases(day, own.quantity + quantity, own.margin + paid), paid
        netted = min(quantity, own.quantity)
        part = own.margin * netted // own.quantity if netted else 0
        return DayPurchases(day, own.quantity - netted, own.margin - part), -min(part, netted * price)


@dataclass(frozen=True, slots=True)
class Holding:
    """Delivery shares. `cost` is what all of `quantity` was bought for."""

    quantity: int = 0
    """Below zero: sold, and the purchase was taken back since; owed to the clearing house."""
    t1_quantity: int = 0
    """Bought and not yet settled; part of quantity."""
    blocked_quantity: int = 0
    """Promised to pending sell orders; part of quantity."""
    cost: int = 0
    taken_back_quantity: int = 0
    """Bought, and taken back by the exchange since."""
    oversold_quantity: int = 0
    """Sold by the exchange beyond what was promised: by so much more `quantity` may be below zero."""
    bought_on: date | None = None
    """The last day on which shares were bought; the next two are of that day alone (DayPurchases)."""
    bought_quantity: int = 0
    bought_margin: int = 0

    @property
    def purchases(self) -> DayPurchases:
        return DayPurchases(self.bought_on, self.bought_quantity, self.bought_margin)

    def with_purchases(self, of_day: DayPurchases) -> "Holding":
        return replace(
            self, bought_on=of_day.on, bought_quantity=of_day.quantity, bought_margin=of_day.margin
        )

    @property
    def free_quantity(self) -> int:
        return self.quantity - self.blocked_quantity

    def bought(self, quantity: int, price: int) -> tuple["Holding", int]:
        """The holding after a purchase, and the realised profit: none, unless it makes good what was owed."""
        after, realized = self._traded(Side.BUY, quantity, price)
        t1 = min(self.t1_quantity + quantity, max(after.quantity, 0))
        return replace(after, t1_quantity=t1), realized

    def sold(self, quantity: int, price: int, promised: int) -> tuple["Holding", int]:
        """The holding after a sale of which `promised` shares were blocked, and the realised profit.

        Settled shares leave first.
        """
        after, realized = self._traded(Side.SELL, quantity, price)
        t1, blocked = min(self.t1_quantity, max(after.quantity, 0)), self.blocked_quantity - promised
        beyond = max(blocked, 0) - after.quantity - self.taken_back_quantity
        oversold = max(self.oversold_quantity, beyond)
        return replace(after, t1_quantity=t1, blocked_quantity=blocked, oversold_quantity=oversold), realized

    def _traded(self, side: Side, quantity: int, price: int) -> tuple["Holding", int]:
        after = Position(self.quantity, open_cost=self.cost).traded(side, quantity, price)
        return replace(self, quantity=after.net_quantity, cost=after.open_cost), after.realized_pnl


@dataclass(frozen=True, slots=True)
class Position:
    """Intraday or derivatives position of one instrument and product."""

    buy_quantity: int = 0
    sell_quantity: int = 0
    buy_value: int = 0
    sell_value: int = 0
    open_cost: int = 0
    """Signed cost of the net quantity: bought for, or minus sold for."""
    realized_pnl: int = 0
    margin: int = 0
    """Used margin of the net quantity."""

    @property
    def net_quantity(self) -> int:
        return self.buy_quantity - self.sell_quantity

    def traded(self, side: Side, quantity: int, price: int) -> "Position":
        """The position after a trade; `margin` is the margin book's and stays as it is."""
        net, sign = self.net_quantity, side.sign
        closing = min(quantity, max(0, -sign * net))
        closed_cost = self.open_cost * closing // abs(net) if closing else 0
        if closing == abs(net):
            closed_cost = self.open_cost
        realized = -sign * closing * price - closed_cost
        return replace(
            self,
            buy_quantity=self.buy_quantity + (quantity if sign > 0 else 0),
            sell_quantity=self.sell_quantity + (quantity if sign < 0 else 0),
            buy_value=self.buy_value + (quantity * price if sign > 0 else 0),
            sell_value=self.sell_value + (quantity * price if sign < 0 else 0),
            open_cost=self.open_cost - closed_cost + sign * (quantity - closing) * price,
            realized_pnl=self.realized_pnl + (realized if closing else 0),
        )

    def netted(self) -> "Position":
        """The same position with no side below zero.

        The day roll leaves of the days before only what is open, on its side; a trade of theirs that is taken
        back later may be on the other, and goes to this one.
        """
        if min(self.buy_quantity, self.sell_quantity) >= 0:
            return self
        short = self.sell_quantity < self.buy_quantity
        quantity, value = (
            (self.sell_quantity, self.sell_value) if short else (self.buy_quantity, self.buy_value)
        )
        return replace(
            self,
            buy_quantity=self.buy_quantity - quantity,
            sell_quantity=self.sell_quantity - quantity,
            buy_value=self.buy_value - value,
            sell_value=self.sell_value - value,
        )

    def unrealized_pnl(self, price: int) -> int:
        """Mark to market of the net quantity at a price."""
        return unrealized_pnl(self.net_quantity, self.open_cost, price)


def unrealized_pnl(quantity: int, cost: int, price: int) -> int:
    """Of a holding or a position of so many units, negative when short, at a price for each unit."""
    return quantity * price - cost
