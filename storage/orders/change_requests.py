"""Requests for changes, before a workflow is asked: what is under way, how many there were, their numbers.

A flood of requests is refused by plain reads that lock nothing. One that may go on to the workflow takes a
number, at most REQUESTS_A_SECOND and REQUESTS_MOST of an order over all API processes, so no client can come
near the number of updates that a workflow takes in its life. Called by the API for `PUT /api/v1/orders/{id}`.
"""

from dataclasses import dataclass, replace

from psycopg.rows import class_row

from domain.rejects import Refusal, RejectCode
from storage import audit
from storage.audit import AuditEntry
from storage.database import Database

REQUESTS_A_SECOND = 10
REQUESTS_MOST = 500
"""Of an order in its life, refused ones included; a workflow takes 2,000 updates."""

_READ = """
    SELECT o.changes, COALESCE(r.requests, 0) AS requests,
           EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND kind = 'CANCEL'
                   AND answered_at_ns IS NULL) AS cancel_pending,
           EXISTS (SELECT FROM exchange_outbox x WHERE x.order_id = o.order_id AND kind = 'REPLACE'
                   AND answered_at_ns IS NULL AND withdrawn_at_ns IS NULL) AS change_pending
    FROM orders o LEFT JOIN change_requests r USING (order_id) WHERE o.order_id = %s
"""
# A request that waited for the row comes with an older second: it counts in the one that has begun.
_TAKE = f"""
    INSERT INTO change_requests AS r (order_id, requests, second, in_second)
    VALUES (%s, 1, extract(epoch FROM clock_timestamp())::bigint, 1)
    ON CONFLICT (order_id) DO UPDATE SET requests = r.requests + 1,
        second = GREATEST(r.second, excluded.second),
        in_second = CASE WHEN r.second < excluded.second THEN 1 ELSE r.in_second + 1 END
    WHERE r.requests < {REQUESTS_MOST}
      AND (r.second < excluded.second OR r.in_second < {REQUESTS_A_SECOND})
    RETURNING requests
"""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What has been asked of an order."""

    changes: int
    """Taken so far."""
    requests: int
    cancel_pending: bool
    change_pending: bool

    @property
    def refusal(self) -> Refusal | None:
        """Why no further change may be asked for now."""
        if self.cancel_pending:
            return Refusal(RejectCode.CANCEL_ALREADY_PENDING)
        if self.change_pending:
            return Refusal(RejectCode.CHANGE_ALREADY_PENDING)
        if self.requests >= REQUESTS_MOST:
            return Refusal(RejectCode.CHANGE_REQUESTS_EXHAUSTED, limit=str(REQUESTS_MOST))
        return None


async def under_way(database: Database, order_id: int) -> UnderWay:
    async with database.reading() as conn, conn.cursor(row_factory=class_row(UnderWay)) as cursor:
        await cursor.execute(_READ, (order_id,))
        found = await cursor.fetchone()
    assert found is not None
    return found


async def take_number(database: Database, order_id: int, asked: AuditEntry) -> int | None:
    """The request's number in the order's life, and the request on record; None when there are too many in
    this second, or in all."""
    async with database.transaction() as conn:
        row = await (await conn.execute(_TAKE.encode(), (order_id,))).fetchone()
        if row is None:
            return None
        number = int(row["requests"])
        await audit.append(conn, [replace(asked, detail={**asked.detail, "number": number})])
    return number
