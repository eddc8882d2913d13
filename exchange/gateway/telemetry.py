"""The gateway's spans and counters: `gateway.send` and `gateway.report` continue the order's trace."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from domain.reports import CancelRejected, ExecutionReport
from storage.inbox import Arrival
from storage.outbox import Owed

_tracer = trace.get_tracer("hundi.gateway")
_meter = metrics.get_meter("hundi.gateway")
_propagator = TraceContextTextMapPropagator()

ORDERS_SENT = _meter.create_counter("hundi.gateway.sent", unit="1", description="Instructions sent")
REPORTS_JOURNALED = _meter.create_counter(
    "hundi.gateway.journaled", unit="1", description="Reports journaled"
)
REPORTS_BROKEN = _meter.create_counter(
    "hundi.gateway.broken", unit="1", description="Reports that fit no order"
)


@contextmanager
def send_span(owed: Owed, exchange: str, repeated: bool) -> Iterator[None]:
    """Around one send."""
    context = _propagator.extract({"traceparent": owed.traceparent}) if owed.traceparent else None
    attributes: dict[str, str | bool] = {
        "order_id": str(owed.order_id),
        "exchange": exchange,
        "poss_resend": repeated,
    }
    with _tracer.start_as_current_span("gateway.send", context=context, attributes=attributes):
        yield


def report_span(arrival: Arrival, traceparent: str) -> None:
    """From the arrival of a report until it is durable and published."""
    if not isinstance(arrival.report, ExecutionReport | CancelRejected):
        return
    context = _propagator.extract({"traceparent": traceparent}) if traceparent else None
    attributes = {"order_id": str(arrival.order_id), "exchange": arrival.exchange}
    span = _tracer.start_span(
        "gateway.report", context=context, attributes=attributes, start_time=arrival.received_at_ns
    )
    span.end()
