"""A process with a collector: its spans and metrics arrive there, by OTLP over HTTP."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROCESS = """
from config.settings import Settings
from opentelemetry import trace
from telemetry import stages
from telemetry.process import telemetry

with telemetry(Settings(trace_sample_ratio=1.0), "gateway"):
    with trace.get_tracer("hundi").start_as_current_span("order.sent"):
        stages.record("outbox", 5_000_000)
"""


@contextmanager
def a_collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its URL, and the last body by path."""
    told: dict[str, bytes] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


def test_spans_and_metrics_go_to_the_collector_when_the_process_ends() -> None:
    with a_collector() as (url, told):
        environment = {"HUNDI_OTLP_ENDPOINT": url}
        subprocess.run([sys.executable, "-c", PROCESS], env=environment, check=True, timeout=60)
    spans = ExportTraceServiceRequest.FromString(told["/v1/traces"]).resource_spans[0]
    metrics = ExportMetricsServiceRequest.FromString(told["/v1/metrics"]).resource_metrics[0]
    assert spans.scope_spans[0].spans[0].name == "order.sent"
    names = {attribute.key: attribute.value.string_value for attribute in spans.resource.attributes}
    assert names["service.name"] == "hundi-gateway"
    stage = metrics.scope_metrics[0].metrics[0]
    assert stage.name == "hundi.order.stage"
    assert stage.histogram.data_points[0].count == 1
