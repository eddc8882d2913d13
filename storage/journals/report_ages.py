"""Reports that are journaled and not booked, by age: none may stay so for longer than BOOKED_WITHIN_NS.

A report that waits is told to the risk desk once, whoever looks and however often (`alerted_at_ns`); so is a
break, which fits no order and is booked only when what it rests on has come. Both partial indexes are empty
in a healthy market, so that a look costs nothing. Called by the operations worker each second, and by
`hundi status`.
"""

from dataclasses import dataclass
from itertools import groupby

from psycopg.rows import class_row

from domain.events import AlertKind
from domain.time import NANOS
from storage.database import Connection, Database
from storage.risk import risk_alerts
from storage.risk.risk_alerts import Finding, RiskAlert

BOOKED_WITHIN_NS = 5 * NANOS
ALERTS_AT_ONCE = 200
"""Reports in one look; the next look takes the next."""
ACTOR = "reconciliation"

UNBOOKED = "i.booked_at_ns IS NULL AND i.broken IS NULL"
# A trade of no order of ours stays a break, and is booked. A status answer that missed trades is explained
# when these have come; it never fits by itself.
_BROKEN = """i.broken IS NOT NULL AND i.booked_at_ns IS NULL
    AND NOT (COALESCE(i.report->>'exec_type', '') = 'I' AND EXISTS (
             SELECT FROM orders o WHERE o.order_id = i.order_id
               AND o.filled_quantity = (i.report->>'cumulative_quantity')::int))"""
_LATE = f"""
    SELECT r.late AS reports, r.since_ns AS reports_since_ns, b.late AS breaks, b.since_ns AS breaks_since_ns
    FROM (SELECT count(*) AS late, min(received_at_ns) AS since_ns FROM exchange_inbox i
          WHERE {UNBOOKED} AND received_at_ns < %(due)s) r,
         (SELECT count(*) AS late, min(received_at_ns) AS since_ns FROM exchange_inbox i
          WHERE {_BROKEN} AND received_at_ns < %(due)s) b
"""
# It waits for nobody: a row that a booking has locked is looked at again in a second.
_BEHIND = f"""
    SELECT DISTINCT user_id FROM exchange_inbox i
    WHERE {UNBOOKED} AND received_at_ns < %(due)s AND user_id IS NOT NULL
"""
_TAKE = f"""
    WITH late AS (
        SELECT seq FROM exchange_inbox WHERE seq = ANY(ARRAY(
            SELECT seq FROM exchange_inbox i
            WHERE {UNBOOKED} AND alerted_at_ns IS NULL AND received_at_ns < %(due)s
            UNION ALL
            SELECT seq FROM exchange_inbox i
            WHERE {_BROKEN} AND alerted_at_ns IS NULL AND received_at_ns < %(due)s
            LIMIT {ALERTS_AT_ONCE}))
          AND booked_at_ns IS NULL AND alerted_at_ns IS NULL
        FOR UPDATE SKIP LOCKED
    )
    UPDATE exchange_inbox i SET alerted_at_ns = %(now)s FROM late WHERE i.seq = late.seq
    RETURNING i.exchange, i.report_id, i.order_id, i.broken, i.user_id
"""
# The newest reports: that the books were brought up to them is what `booked_at_ns` says, not what they show.
_WITHOUT_TRADE = """
    SELECT i.exchange, i.report_id, i.order_id, i.user_id FROM exchange_inbox i
    WHERE i.seq > (SELECT COALESCE(max(seq), 0) - 20000 FROM exchange_inbox)
      AND i.booked_at_ns IS NOT NULL AND i.broken IS NULL AND i.report->>'exec_type' IN ('F', 'G', 'H')
      AND NOT EXISTS (SELECT FROM trades t WHERE (t.exchange, t.exec_id) = (i.exchange, i.report_id)
                      AND i.report->>'exec_type' <> 'H')
      AND NOT EXISTS (SELECT FROM trades t WHERE (t.exchange, t.undone_by) = (i.exchange, i.report_id)
                      AND i.report->>'exec_type' = 'H')
"""


@dataclass(frozen=True, slots=True)
class Late:
    """What is not booked although it should be."""

    reports: int
    reports_since_ns: int | None
    breaks: int
    breaks_since_ns: int | None

    def age_seconds(self, now_ns: int) -> int:
        """Of the oldest."""
        since = [at for at in (self.reports_since_ns, self.breaks_since_ns) if at is not None]
        return (now_ns - min(since)) // NANOS if since else 0

    def sentence(self, now_ns: int) -> str:
        """For a person; empty when all is booked."""
        parts = (
            (self.reports, "unbooked", self.reports_since_ns),
            (self.breaks, "broken", self.breaks_since_ns),
        )
        return ", ".join(
            f"{count} {what} for {(now_ns - since) // NANOS} s" for count, what, since in parts if since
        )


@dataclass(frozen=True, slots=True)
class _LateReport:
    exchange: str
    report_id: str
    order_id: int | None
    broken: str | None
    user_id: int | None

    @property
    def subject(self) -> tuple[int, int, str]:
        """One alert each: account, order, and for a break its reason."""
        return self.user_id or 0, self.order_id or 0, self.broken or ""


async def late(database: Database, now_ns: int) -> Late:
    async with database.reading() as conn, conn.cursor(row_factory=class_row(Late)) as cursor:
        row = await (await cursor.execute(_LATE.encode(), {"due": now_ns - BOOKED_WITHIN_NS})).fetchone()
    assert row is not None
    return row


async def users_behind(database: Database, now_ns: int) -> list[int]:
    """Whose reports are late."""
    async with database.reading() as conn:
        found = await conn.execute(_BEHIND.encode(), {"due": now_ns - BOOKED_WITHIN_NS})
        return [row["user_id"] for row in await found.fetchall()]


async def without_trade(database: Database) -> set[Finding]:
    """Trades, busts and corrections that count as booked and have left nothing in our trades."""
    async with database.reading() as conn:
        rows = await (await conn.execute(_WITHOUT_TRADE)).fetchall()
    words = "{exchange} {report_id} of order {order_id} is booked, and there is no trade."
    return {Finding(AlertKind.REPORT_UNBOOKED, row["user_id"] or 0, words.format(**row)) for row in rows}


async def alert(conn: Connection, now_ns: int) -> list[RiskAlert]:
    """Alerts of late reports that nobody was told of, on record; to be told after the commit."""
    async with conn.cursor(row_factory=class_row(_LateReport)) as cursor:
        await cursor.execute(_TAKE.encode(), {"due": now_ns - BOOKED_WITHIN_NS, "now": now_ns})
        rows = sorted(await cursor.fetchall(), key=lambda row: row.subject)
    alerts = [_alert(list(reports)) for _, reports in groupby(rows, key=lambda row: row.subject)]
    await risk_alerts.record(conn, alerts, ACTOR)
    return alerts


def _alert(reports: list[_LateReport]) -> RiskAlert:
    first = reports[0]
    named = ", ".join(f"{one.exchange} {one.report_id}" for one in reports)
    of_order = f" of order {first.order_id}" if first.order_id else ""
    if first.broken is None:
        kind, words = AlertKind.REPORT_UNBOOKED, f"{named}{of_order}: not booked for more than 5 s."
    else:
        kind, words = AlertKind.REPORT_BROKEN, f"{named}{of_order}: does not fit, {first.broken}."
    detail = {"order_id": str(first.order_id)} if first.order_id else {}
    return RiskAlert(kind, words, first.user_id or 0, detail)
