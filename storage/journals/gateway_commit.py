"""The gateway's one transaction: sends that happened, then reports that arrived, in that order.

One writer, one commit for everything that has gathered: a report can never be recorded before the send
it answers, and the user's stream shows SENT before ACKNOWLEDGED.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bus.order_updates import OrderUpdate
from storage.audit import AuditEntry, append
from storage.database import Connection
from storage.journals import inbox, outbox
from storage.journals.inbox_rows import Arrival
from storage.locks import lock_orders
from storage.risk.risk_alerts import RiskAlert


@dataclass(frozen=True, slots=True)
class GatewayCommit:
    """To be done after the commit."""

    updates: list[OrderUpdate]
    owners: set[str]
    breaks: list[inbox.BrokenReport]
    unknown: list[str]
    traces: dict[int, str]
    """Order id -> its traceparent."""
    answered: list[int]
    """When each request that is now answered for the first time was sent, in nanoseconds."""
    alerts: list[RiskAlert]


async def write(
    conn: Connection, sent: Sequence[outbox.Sent], arrivals: Sequence[Arrival], now_ns: int
) -> GatewayCommit:
    """Write both inside the caller's transaction."""
    order_ids = [s.owed.order_id for s in sent] + [a.order_id for a in arrivals if a.order_id is not None]
    orders = await lock_orders(conn, order_ids)
    entries = await outbox.mark_sent(conn, sent, orders) if sent else []
    journaled = await inbox.journal(conn, arrivals, orders, now_ns) if arrivals else None
    traces = {order_id: order.traceparent for order_id, order in orders.items()}
    if journaled is None:
        return GatewayCommit(await append(conn, _by_user(entries)), set(), [], [], traces, [], [])
    updates = await append(conn, _by_user(entries + journaled.entries))
    return GatewayCommit(
        updates,
        journaled.owners,
        journaled.breaks,
        journaled.unknown,
        traces,
        journaled.sent_at_ns,
        journaled.alerts,
    )


def _by_user(entries: list[AuditEntry]) -> list[AuditEntry]:
    """Ascending user, each user's entries in their order."""
    return sorted(entries, key=lambda entry: entry.user_id)
