"""The house's rules for a client's orders among themselves: how many may live, and that none meets another.

Dated rows of config/order_rules.csv. Called by storage/journals/intake.py and storage/orders/self_trades.py.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.rejects import Refusal, RejectCode


class SelfTradePolicy(StrEnum):
    """What becomes of two orders of one client that could trade with each other."""

    CANCEL_NEWEST = "CANCEL_NEWEST"
    """The one that comes later does not leave."""
    ALLOW = "ALLOW"
    """Both leave; whether they trade is the exchange's word."""


@dataclass(frozen=True, slots=True)
class OrderRules:
    open_orders_max: int
    """Orders of one account that are not final, slices counted one by one."""
    self_trade: SelfTradePolicy

    def have_room(self, living: int, more: int = 1) -> bool:
        """Whether so many more orders may be placed beside those that live."""
        return living + more <= self.open_orders_max

    @property
    def no_room(self) -> Refusal:
        return Refusal(RejectCode.OPEN_ORDERS_LIMIT_REACHED, limit=str(self.open_orders_max))
