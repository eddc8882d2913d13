"""Alerts for the risk desk: on record, in the log and the metrics, and on the desk's own channel.

The record is written in the caller's transaction; the rest follows the commit. Called by the operations
worker, and by the order worker's booking.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import structlog
from opentelemetry import metrics
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import wakeups
from domain.events import AlertKind, RecordEvent
from domain.time import rfc3339
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection

_ALERTS = metrics.get_meter("hundi.risk").create_counter(
    "hundi.risk.alerts", unit="1", description="Alerts raised for the risk desk"
)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RiskAlert:
    kind: AlertKind
    sentence: str
    user_id: int = 0
    """0 when the alert is about no account."""
    detail: dict[str, Any] = field(default_factory=dict)
    at_ns: int = field(default_factory=time.time_ns)


class Finding(NamedTuple):
    """A fault that one look at the books finds; one that several looks find is alerted, once."""

    kind: AlertKind
    user_id: int
    sentence: str


async def record(conn: Connection, alerts: list[RiskAlert], actor: str) -> None:
    entries = [
        AuditEntry(
            alert.at_ns,
            alert.user_id,
            RecordEvent.RISK_ALERT,
            actor,
            detail={"kind": alert.kind, "sentence": alert.sentence, **alert.detail},
        )
        for alert in sorted(alerts, key=lambda alert: alert.user_id)
    ]
    await audit.append(conn, entries)


async def tell(redis: Redis, alerts: list[RiskAlert]) -> None:
    """After the commit."""
    for alert in alerts:
        _ALERTS.add(1, {"kind": alert.kind})
        log.warning(
            "risk_alert", kind=alert.kind, sentence=alert.sentence, user_id=alert.user_id, **alert.detail
        )
        frame = {
            "type": "risk_alert",
            "kind": alert.kind,
            "sentence": alert.sentence,
            "user_id": alert.user_id or None,
            "timestamp": rfc3339(alert.at_ns),
            **alert.detail,
        }
        with suppress(RedisError, OSError):
            await redis.publish(wakeups.RISK_ALERTS, msgspec.json.encode(frame))
