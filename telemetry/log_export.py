"""Spans and metrics as structured log lines, for a process without a collector.

A line a sampled span, a line a metric each minute: `jq` over the logs then answers what a collector would.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger()
NANOS_A_MILLISECOND = 1_000_000


class LogSpanExporter(SpanExporter):
    """`span` lines: name, ids, start and duration."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            context, began, ended = span.get_span_context(), span.start_time or 0, span.end_time or 0
            assert context is not None
            log.info(
                "span",
                name=span.name,
                trace_id=f"{context.trace_id:032x}",
                span_id=f"{context.span_id:016x}",
                parent_id=f"{span.parent.span_id:016x}" if span.parent else None,
                began_ns=began,
                duration_ms=round((ended - began) / NANOS_A_MILLISECOND, 3),
                **{key.replace(".", "_"): value for key, value in (span.attributes or {}).items()},
            )
        return SpanExportResult.SUCCESS


class LogMetricExporter(MetricExporter):
    """`metric` lines: a counter's sum, a histogram's count, mean and the bound below which 99% lie."""

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any
    ) -> MetricExportResult:
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        if isinstance(point, NumberDataPoint | HistogramDataPoint):
                            log.info(
                                "metric", metric=metric.name, **dict(point.attributes or {}), **_told(point)
                            )
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None: ...


def _told(point: NumberDataPoint | HistogramDataPoint) -> dict[str, Any]:
    if isinstance(point, NumberDataPoint):
        return {"value": point.value}
    return {
        "count": point.count,
        "mean_ms": round(point.sum / point.count * 1000, 3) if point.count else None,
        "p99_below_ms": _bound(point, 0.99),
    }


def _bound(point: HistogramDataPoint, share: float) -> float | None:
    """The upper bound of the bucket in which the share is reached; None: above the last bound."""
    seen = 0
    for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
        seen += count
        if seen >= share * point.count:
            return round(bound * 1000, 3)
    return None
