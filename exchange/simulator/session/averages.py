"""Volume-weighted average prices of the last half hour, for the prices that a closing is made of.

Kept in one-second sums an instrument; what is older than the longest average is dropped. Called by floor.py.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from domain.money import round_half_up
from domain.reports import ExecType, ExecutionReport, Report
from domain.time import NANOS

KEPT_SECONDS = 1800


@dataclass(slots=True)
class Averages:
    _sums: dict[str, deque[list[int]]] = field(default_factory=lambda: defaultdict(deque))
    """Per symbol: [second, value in paise, quantity], ascending."""

    def add(self, symbol: str, price: int, quantity: int, now_ns: int) -> None:
        second, sums = now_ns // NANOS, self._sums[symbol]
        if not sums or sums[-1][0] != second:
            sums.append([second, 0, 0])
        sums[-1][1] += price * quantity
        sums[-1][2] += quantity
        while sums[0][0] < second - KEPT_SECONDS:
            sums.popleft()

    def restore(self, reports: Iterable[Report]) -> None:
        """Take in trades as they were told; the two sides of one count once."""
        trades = {
            report.exec_id[:-1]: report
            for report in reports
            if isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE
        }
        for trade in trades.values():
            self.add(trade.symbol, trade.last_price, trade.last_quantity, trade.transact_time_ns)

    def since(self, symbol: str, since_ns: int, tick: int) -> int | None:
        """The average from an instant on, to the nearest tick; None when nothing traded."""
        sums = [row for row in self._sums[symbol] if row[0] >= since_ns // NANOS]
        quantity = sum(row[2] for row in sums)
        return round_half_up(sum(row[1] for row in sums), quantity * tick) * tick if quantity else None
