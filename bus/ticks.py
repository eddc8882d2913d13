"""The row of a tick on our own bus, and where its group's latest rows are kept.

An instrument's row is a feed record, when we received it, and whether its line has gone silent. Groups spread
the instruments of an exchange over channels, so that a reader takes only what it needs. Written by the market
data distributor (bus/tick_bus.py); read by the realtime gateways and by the gates (bus/last_prices.py).
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = 5
LEVEL = np.dtype([("price", "<i4"), ("quantity", "<u4")])
RECORD = np.dtype(
    [
        ("token", "<u4"),
        ("ltp", "<i4"),
        ("time_ns", "<i8"),
        ("volume", "<u8"),
        ("last_quantity", "<u4"),
        ("open", "<i4"),
        ("high", "<i4"),
        ("low", "<i4"),
        ("previous_close", "<i4"),
        ("trades", "<u4"),
        ("bids", LEVEL, LEVELS),
        ("asks", LEVEL, LEVELS),
    ]
)
"""What the feed says of an instrument (docs/feed-format.md)."""
GROUPS = 64
"""Per exchange."""
TICK = np.dtype([*RECORD.descr, ("received_ns", "<i8"), ("stale", "u1")])
"""A feed record, when its datagram was received, and 1 while its line is silent."""
Ticks = NDArray[np.void]
ALIVE = "ticks:alive"
"""Set, for a few seconds at a time, as long as the distributor is at work."""


def group_of(exchange: str, token: int) -> str:
    """The group's name, such as "NSE:17"."""
    return f"{exchange}:{token % GROUPS}"


def channel(group: str) -> str:
    """The braces keep a group's channel and its latest rows on one node of a cluster."""
    return f"ticks:{{{group}}}"


def latest(group: str) -> str:
    """The hash of a group's latest rows by token."""
    return f"{channel(group)}:latest"
