"""The telemetry of one process, started once by its main: providers, exporters, logs that carry trace ids.

With `HUNDI_OTLP_ENDPOINT` spans and metrics go to that collector, otherwise into the logs. The API decides
by the trace id whether an order is sampled; every other process follows the flag in its traceparent.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from config.settings import Settings
from telemetry.log_export import LogMetricExporter, LogSpanExporter

METRICS_EVERY_MS = 60_000


@contextmanager
def telemetry(settings: Settings, process: str) -> Iterator[None]:
    """Traces, metrics and logs of `process`; what is still to be exported goes out at the end."""
    _configure_logs(settings, process)
    resource = Resource.create({SERVICE_NAME: f"hundi-{process}"})
    tracers = TracerProvider(sampler=_sampler(settings, process), resource=resource)
    span_exporter, metric_exporter = _exporters(settings)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    reader = PeriodicExportingMetricReader(metric_exporter, METRICS_EVERY_MS)
    meters = MeterProvider([reader], resource)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    try:
        yield
    finally:
        tracers.shutdown()
        meters.shutdown()


def _sampler(settings: Settings, process: str) -> Any:
    ratio = TraceIdRatioBased(settings.trace_sample_ratio)
    # The API does not let a client's flag decide what we record: the ratio holds for its traces too.
    return ratio if process == "api" else ParentBased(ratio)


def _exporters(settings: Settings) -> tuple[SpanExporter, MetricExporter]:
    if settings.otlp_endpoint is None:
        return LogSpanExporter(), LogMetricExporter()
    # Not at the top: they bring an HTTP client and protobuf with them, a tenth of a process's start.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    collector = settings.otlp_endpoint.rstrip("/")
    return (
        OTLPSpanExporter(endpoint=f"{collector}/v1/traces"),
        OTLPMetricExporter(endpoint=f"{collector}/v1/metrics"),
    )


def _configure_logs(settings: Settings, process: str) -> None:
    def add_process(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.add_log_level,
            add_process,
            _add_trace,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        cache_logger_on_first_use=True,
    )


def _add_trace(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The id of the trace in whose span the line is written, or of the traceparent it names."""
    if "trace_id" not in event:
        context = trace.get_current_span().get_span_context()
        told = str(event.pop("traceparent", None) or "").split("-")
        if context.is_valid:
            event["trace_id"] = f"{context.trace_id:032x}"
        elif len(told) == 4:
            event["trace_id"] = told[1]
    return event
