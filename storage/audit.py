"""The record: every order mutation, appended in the transaction that makes it.

A row with an order is three things at once: an entry of the audit log, a line of the order's history and
an `order_update` of its user's stream. The database numbers it per user without gaps (`user_seq`) under
the lock of the user's sequence row, so entries must be appended in ascending user id.
"""

from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from domain.orders import OrderEvent, OrderStatus
from domain.time import rfc3339
from storage.database import Connection

_APPEND = """
    INSERT INTO audit_log (occurred_at_ns, user_id, order_id, event, status, detail, actor, client_ip,
                           device, traceparent)
    VALUES (%(occurred_at_ns)s, %(user_id)s, %(order_id)s, %(event)s, %(status)s, %(detail)s, %(actor)s,
            %(client_ip)s, %(device)s, %(traceparent)s)
    RETURNING user_seq
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`detail` is shown to the client: amounts are rupee strings, and nothing in it is internal."""

    occurred_at_ns: int
    user_id: int
    event: OrderEvent | str
    actor: str
    """Who did it: `client`, `order-worker-0`, `exchange:NSE`, a client id of staff."""
    order_id: int | None = None
    status: OrderStatus | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    client_ip: str | None = None
    device: str | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What a user's stream says of one entry."""

    user_id: int
    body: dict[str, Any]
    """The `order_update` frame: seq, order_id, event, status, timestamp and the entry's detail."""


async def append(conn: Connection, entries: list[AuditEntry]) -> list[OrderUpdate]:
    """Append entries (ascending user id); returns the stream's updates, to be published after commit."""
    if not entries:
        return []
    async with conn.cursor() as cur:
        await cur.executemany(_APPEND, [_row(entry) for entry in entries], returning=True)
        rows = [await result.fetchone() async for result in cur.results()]
    return [
        OrderUpdate(entry.user_id, update_body(entry, row["user_seq"]))
        for entry, row in zip(entries, rows, strict=True)
        if entry.order_id is not None and row is not None
    ]


def update_body(entry: AuditEntry, seq: int) -> dict[str, Any]:
    """The `order_update` frame of an entry."""
    return {
        "type": "order_update",
        "seq": seq,
        "order_id": str(entry.order_id),
        "event": str(entry.event),
        "status": entry.status,
        "timestamp": rfc3339(entry.occurred_at_ns),
        **entry.detail,
    }


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "occurred_at_ns": entry.occurred_at_ns,
        "user_id": entry.user_id,
        "order_id": entry.order_id,
        "event": str(entry.event),
        "status": entry.status,
        "detail": Jsonb(entry.detail),
        "actor": entry.actor,
        "client_ip": entry.client_ip,
        "device": entry.device,
        "traceparent": entry.traceparent,
    }
