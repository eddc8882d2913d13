"""The gateway's spans and counters: `gateway.send` and `gateway.report` continue the order's trace."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager

from opentelemetry import metrics
from opentelemetry.trace import Span

from domain.reports import CancelRejected, ExecutionReport
from storage.journals.inbox_rows import Arrival
from storage.journals.outbox import OutboxRow
from telemetry import stages
from telemetry.spans import past_span, span

_meter = metrics.get_meter("hundi.gateway")

ORDERS_SENT = _meter.create_counter("hundi.gateway.sent", unit="1", description="Instructions sent")
REPORTS_JOURNALED = _meter.create_counter(
    "hundi.gateway.journaled", unit="1", description="Reports journaled"
)
REPORTS_BROKEN = _meter.create_counter(
    "hundi.gateway.broken", unit="1", description="Reports that fit no order"
)


def answered(sent_at_ns: Iterable[int], heard_at_ns: int) -> None:
    """The exchange's first word on requests, since each was sent."""
    for at_ns in sent_at_ns:
        stages.record("exchange", heard_at_ns - at_ns)


def send_span(owed: OutboxRow, exchange: str, repeated: bool) -> AbstractContextManager[Span]:
    """Around one send."""
    return span(
        "gateway.send",
        owed.traceparent,
        order_id=str(owed.order_id),
        exchange=exchange,
        poss_resend=repeated,
    )


def report_told(arrival: Arrival, traceparent: str) -> None:
    """A report is durable and published: its stage, and its span since it arrived."""
    if not isinstance(arrival.report, ExecutionReport | CancelRejected):
        return
    stages.record("journal", time.time_ns() - arrival.received_at_ns)
    past_span(
        "gateway.report",
        traceparent,
        arrival.received_at_ns,
        order_id=str(arrival.order_id),
        exchange=arrival.exchange,
    )
