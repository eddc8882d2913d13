"""Which orders may still live, as every statement that looks for them says it."""

from datetime import date, timedelta

from domain.orders import OrderStatus
from domain.time import order_id_floor

LIVE = "status IN ({})".format(", ".join(f"'{status}'" for status in OrderStatus if not status.is_final))
"""The predicate of the index `orders_live`, word for word."""
AFTER_MARKET_DAYS = 10
"""No after-market order waits longer for its day than the longest run of holidays."""


def oldest_living(day: date) -> int:
    """No order below this id lives on a day: whoever looks for living ones leaves older partitions alone."""
    return order_id_floor(day - timedelta(AFTER_MARKET_DAYS))
