"""The realtime tier's counters and the last span of an order's trace; nothing here is done per tick."""

import time
from dataclasses import asdict, dataclass

from opentelemetry import metrics

from domain.time import nanoseconds_of
from telemetry import stages
from telemetry.spans import past_span

_meter = metrics.get_meter("hundi.realtime")


@dataclass(slots=True)
class FeedCounts:
    """Running totals of one exchange's feed. `packets` and `ticks` are first copies."""

    datagrams: int = 0
    malformed: int = 0
    packets: int = 0
    ticks: int = 0
    gaps: int = 0
    """Ranges of numbers that neither line brought in time."""
    missed: int = 0
    """Packets in the gaps."""
    healed: int = 0
    """Snapshots that covered what had been missed."""


_FEED = {name: _meter.create_counter(f"hundi.feed.{name}", unit="1") for name in FeedCounts.__slots__}
ROWS_PUBLISHED = _meter.create_counter(
    "hundi.distributor.rows", unit="1", description="Rows published on the bus"
)
PUBLISH_FAILED = _meter.create_counter(
    "hundi.distributor.failed", unit="1", description="Publishes that Redis did not take"
)


def record(exchange: str, before: FeedCounts, now: FeedCounts) -> None:
    """Add what the totals have grown by."""
    told = asdict(before)
    for name, total in asdict(now).items():
        if total > told[name]:
            _FEED[name].add(total - told[name], {"exchange": exchange})


def update_pushed(timestamp: str, traceparent: str) -> None:
    """A traced order update was handed to its user's sockets, since what it tells of happened."""
    if traceparent:
        happened_ns = nanoseconds_of(timestamp)
        stages.record("push", time.time_ns() - happened_ns)
        past_span("stream.push", traceparent, happened_ns)
