"""A trade taken back or put right: the position and the margin as if it had been so from the start.

Averages depend on every trade before them, so what stands is replayed: the position is brought back to before
its trades and these are booked anew, a corrected one in the place of the old. Pure; paise and units. The
ledger's postings are reversed and made anew by storage/books/corrections.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from domain.margin import used_by_trade
from domain.orders import Product, Side
from domain.positions import DayPurchases, Holding, Position


@dataclass(frozen=True, slots=True)
class BookedTrade:
    """A row of the trades that stand."""

    exec_id: str
    side: Side
    quantity: int
    price: int
    unit_margin: int
    """Used by each share that it opened."""
    day: date
    realized_pnl: int = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """The books once a trade has been undone."""

    position: Position
    trades: list[BookedTrade]
    """Those that stand now, each with what it realised."""
    used: int
    """Change of used margin."""
    purchases: DayPurchases
    """Of a delivery: those of the last day that had any."""


def undo(
    present: Position,
    product: Product,
    trades: Sequence[BookedTrade],
    exec_id: str,
    corrected: BookedTrade | None,
) -> Replayed:
    """Undo one of `trades`, which stand and have made the position what it is, in this order.

    A delivery holding is given as a position of its quantity and cost; its margin is apart, of what was
    bought and not sold on the same day.
    """
    stand = [corrected if trade.exec_id == exec_id else trade for trade in trades]
    position, replayed = _replay(_before(present, trades), [trade for trade in stand if trade is not None])
    if product is Product.CNC:
        (purchases, paid), (_, paid_before) = _paid(replayed), _paid(trades)
        return Replayed(replace(position, margin=0), replayed, paid - paid_before, purchases)
    return Replayed(position.netted(), replayed, position.margin - present.margin, DayPurchases())


def as_position(holding: Holding) -> Position:
    return Position(holding.quantity, open_cost=holding.cost)


def as_holding(present: Holding, after: Replayed, taken_back: BookedTrade, left: int) -> Holding:
    """The holding after `undo`; of the trade `left` shares stand. Purchases of today were not settled yet."""
    position = after.position
    lost = taken_back.quantity - left if taken_back.side is Side.BUY else 0
    quantity = position.net_quantity
    t1 = min(max(present.t1_quantity - lost, 0), max(quantity, 0))
    gone = present.taken_back_quantity + lost
    return replace(
        present.with_purchases(after.purchases),
        quantity=quantity,
        t1_quantity=t1,
        cost=position.open_cost,
        taken_back_quantity=gone,
    )


def _before(present: Position, trades: Iterable[BookedTrade]) -> Position:
    """The position that these trades found. Whatever a trade realised it also took out of the cost."""
    before = replace(present, margin=0)
    for trade in trades:
        value, bought = trade.quantity * trade.price, trade.side is Side.BUY
        before = replace(
            before,
            buy_quantity=before.buy_quantity - (trade.quantity if bought else 0),
            sell_quantity=before.sell_quantity - (0 if bought else trade.quantity),
            buy_value=before.buy_value - (value if bought else 0),
            sell_value=before.sell_value - (0 if bought else value),
            open_cost=before.open_cost - trade.side.sign * value - trade.realized_pnl,
            realized_pnl=before.realized_pnl - trade.realized_pnl,
        )
    return before


def _replay(position: Position, trades: Iterable[BookedTrade]) -> tuple[Position, list[BookedTrade]]:
    replayed = []
    for trade in trades:
        after = position.traded(trade.side, trade.quantity, trade.price)
        net, margin = position.net_quantity, position.margin
        used = used_by_trade(trade.side, trade.quantity, trade.unit_margin, net, margin)
        replayed.append(replace(trade, realized_pnl=after.realized_pnl - position.realized_pnl))
        position = replace(after, margin=margin + used)
    return position, replayed


def _paid(trades: Iterable[BookedTrade]) -> tuple[DayPurchases, int]:
    """The last day's purchases, and the used margin of every day's."""
    purchases, paid = DayPurchases(), 0
    for trade in trades:
        terms = (trade.side, trade.quantity, trade.price, trade.unit_margin, trade.day)
        purchases, used = purchases.traded(*terms)
        paid += used
    return purchases, paid
