"""How long an order spends in each stage, sampled or not: one histogram, `hundi.order.stage`, in seconds.

In order: `intake` (asked to durable), `start` (asked to claimed by a worker), `validate`, `block_margin`,
`submit`, `outbox` (owed to sent), `exchange` (sent to its first word), `journal` (heard to durable),
`book_first_reports`, `book`, `push` (durable to the client's socket).
"""

from opentelemetry import metrics

from domain.time import NANOS

BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Most of an order's life is below 10 ms; the SDK's own buckets begin there."""

_STAGE = metrics.get_meter("hundi").create_histogram(
    "hundi.order.stage",
    unit="s",
    description="Time an order spends in a stage of its way",
    explicit_bucket_boundaries_advisory=BUCKETS_SECONDS,
)


def record(stage: str, took_ns: int) -> None:
    """Never negative: clocks of two processes on one machine may disagree by microseconds."""
    _STAGE.record(max(0, took_ns) / NANOS, {"stage": stage})
