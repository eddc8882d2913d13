"""The record: every order mutation, appended in the transaction that makes it.

A row with an order is three things at once: an entry of the audit log, a line of the order's history and
an `order_update` of its user's stream. The database numbers it per user without gaps (`user_seq`) under
the lock of the user's sequence row, so entries must be appended in ascending user id.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.types.json import Jsonb

from bus.order_updates import OrderUpdate
from domain.events import RecordEvent
from domain.orders import OrderEvent, OrderStatus
from domain.time import rfc3339
from storage.database import Connection, columns
from telemetry.spans import is_sampled

# The rows are numbered as they come, so a user's entries keep their order.
_APPEND = """
    INSERT INTO audit_log (occurred_at_ns, user_id, order_id, event, status, detail, actor, client_ip,
                           device, traceparent)
    SELECT at, user_id, order_id, event, status::order_status, detail, actor, client_ip::inet, device,
           traceparent
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::jsonb[], %s::text[],
                %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
        AS entry (at, user_id, order_id, event, status, detail, actor, client_ip, device, traceparent, place)
    ORDER BY place
    RETURNING user_seq
"""

_LAST_SEQS = "SELECT user_id, last_seq FROM update_sequences WHERE user_id = ANY(%s)"
_AFTER = """
    SELECT user_seq, occurred_at_ns, order_id, event, status, detail, traceparent FROM audit_log
    WHERE user_id = %s AND user_seq > %s ORDER BY user_seq
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of an act; empty for acts of the platform itself, whose actor is a process."""

    client_ip: str | None = None
    device: str | None = None
    """The device's name, as the client gives it."""
    traceparent: str = ""


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. The client reads the `detail` of an order: amounts are rupee strings, nothing is internal."""

    occurred_at_ns: int
    user_id: int
    event: OrderEvent | RecordEvent
    """With `order_id` an OrderEvent, without one a RecordEvent."""
    actor: str
    """The one who did it: `client`, `order-worker-0`, `exchange:NSE`, a client id of staff."""
    order_id: int | None = None
    status: OrderStatus | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    client_ip: str | None = None
    device: str | None = None
    traceparent: str = ""


def coming_from(origin: Origin, entry: AuditEntry) -> AuditEntry:
    """Return the entry with an origin; if that has no trace, the entry keeps its order's."""
    trace = origin.traceparent or entry.traceparent
    return replace(entry, client_ip=origin.client_ip, device=origin.device, traceparent=trace)


async def append(conn: Connection, entries: list[AuditEntry]) -> list[OrderUpdate]:
    """Append entries (ascending user id); return the stream's updates, to be published after the commit."""
    if not entries:
        return []
    appended = await conn.execute(_APPEND, columns(_row(entry) for entry in entries))
    return [
        OrderUpdate(entry.user_id, update_body(entry, row["user_seq"]))
        for entry, row in zip(entries, await appended.fetchall(), strict=True)
        if entry.order_id is not None
    ]


async def last_seqs(conn: Connection, user_ids: list[int]) -> dict[int, int]:
    """Return the seq of each user's last committed update, 0 before the first."""
    found = await conn.execute(_LAST_SEQS, (user_ids,))
    return {row["user_id"]: row["last_seq"] for row in await found.fetchall()}


async def updates_after(conn: Connection, user_id: int, after_seq: int) -> list[OrderUpdate]:
    """Return the user's committed updates after a cursor, in order, as they were published."""
    found = await conn.execute(_AFTER, (user_id, after_seq))
    return [
        OrderUpdate(
            user_id,
            update_body(
                AuditEntry(
                    occurred_at_ns=row["occurred_at_ns"],
                    user_id=user_id,
                    event=OrderEvent(row["event"]),
                    actor="",
                    order_id=row["order_id"],
                    status=row["status"],
                    detail=row["detail"],
                    traceparent=row["traceparent"],
                ),
                row["user_seq"],
            ),
        )
        for row in await found.fetchall()
    ]


def update_body(entry: AuditEntry, seq: int) -> dict[str, Any]:
    """The OrderUpdateFrame of an entry, as a dict; in a sampled trace it carries the context for the push."""
    traced = {"traceparent": entry.traceparent} if is_sampled(entry.traceparent) else {}
    return {
        "type": "order_update",
        "seq": seq,
        "order_id": str(entry.order_id),
        "event": str(entry.event),
        "status": entry.status,
        "timestamp": rfc3339(entry.occurred_at_ns),
        **entry.detail,
        **traced,
    }


def _row(entry: AuditEntry) -> tuple[Any, ...]:
    return (
        entry.occurred_at_ns,
        entry.user_id,
        entry.order_id,
        str(entry.event),
        entry.status,
        Jsonb(entry.detail),
        entry.actor,
        entry.client_ip,
        entry.device,
        entry.traceparent,
    )
