"""Spans of an order's way: each continues the W3C trace context that travels with the order in the journals.

The context is a string, `traceparent`, and never ambient: processes meet in tables and queues, where nothing
else would survive. An unsampled order costs one comparison a span. Called by the API, the intake, the order
worker, the gateway and the stream.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

_tracer = trace.get_tracer("hundi")
_NOTHING = NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)


@contextmanager
def span(name: str, traceparent: str, **attributes: str | int | bool) -> Iterator[Span]:
    """Around one stage of a traced order; an exception passes through and marks the span."""
    if not is_sampled(traceparent):
        yield _NOTHING
        return
    with _tracer.start_as_current_span(name, context_of(traceparent), attributes=attributes) as current:
        yield current


def past_span(name: str, traceparent: str, began_ns: int, **attributes: str | int | bool) -> None:
    """A stage that is over: from `began_ns` until now."""
    if is_sampled(traceparent):
        begun = _tracer.start_span(name, context_of(traceparent), attributes=attributes, start_time=began_ns)
        begun.end(time.time_ns())


def is_sampled(traceparent: str) -> bool:
    """The last bit of the flags says so; what is no traceparent is not sampled."""
    return len(traceparent) == 55 and traceparent[54] in "13579bdf"


def context_of(traceparent: str) -> Context:
    """The remote parent that a well-formed traceparent names."""
    _, trace_id, span_id, flags = traceparent.split("-")
    remote = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(remote))


def traceparent_of(current: Span) -> str:
    """What to hand on so that later spans continue this one."""
    context = current.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
