"""The price of a call auction: one price at which the most can trade.

Rule (NSE pre-open and closing auction): the limit price with the largest executable volume; among equals
the smallest imbalance; then the one nearest to the reference price, and the reference itself when two are
equally near. Market orders count at every price; when there are no others they trade at the reference.
Pure; called by trading_day.py, which lets the book trade at the answer.
"""

from collections.abc import Iterable
from typing import NamedTuple

Levels = Iterable[tuple[int, int]]
"""(price in paise, quantity)."""


class Equilibrium(NamedTuple):
    price: int
    volume: int
    imbalance: int
    """Demand less supply at the price: what stays unmatched, positive on the buying side."""


def equilibrium(
    bids: Levels, asks: Levels, market_buys: int, market_sells: int, reference: int
) -> Equilibrium | None:
    """None when nothing can trade. A price may appear once a side."""
    bought, sold = dict(bids), dict(asks)
    demand, supply = market_buys + sum(bought.values()), market_sells
    points = []
    for price in sorted(bought.keys() | sold.keys()):
        supply += sold.get(price, 0)
        points.append(Equilibrium(price, min(demand, supply), demand - supply))
        demand -= bought.get(price, 0)
    if not points:
        points = [Equilibrium(reference, min(market_buys, market_sells), market_buys - market_sells)]
    most = max(point.volume for point in points)
    if most == 0:
        return None
    best = [point for point in points if point.volume == most]
    least = min(abs(point.imbalance) for point in best)
    best = [point for point in best if abs(point.imbalance) == least]
    nearest = min(abs(point.price - reference) for point in best)
    chosen = [point for point in best if abs(point.price - reference) == nearest]
    return chosen[0] if len(chosen) == 1 else _between(chosen[0], chosen[1], reference)


def _between(low: Equilibrium, high: Equilibrium, reference: int) -> Equilibrium:
    """Two prices equally near: the reference, where as much can trade.

    No order lies between them, so what stays unmatched there is theirs when they agree, and nothing when
    buyers are left over at the one and sellers at the other.
    """
    same = low.imbalance == high.imbalance
    return Equilibrium(reference, low.volume, low.imbalance if same else 0)
