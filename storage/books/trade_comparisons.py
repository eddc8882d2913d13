"""Our trades of a day as the exchange's file has them, and which days have been compared.

A day is compared once its exchange has closed: every session class CLOSED, and not compared since. The legs
are those of domain/trade_comparison.py; a bust or correction belongs to the day on which it was reported.
Called by the reconciliation and `hundi reconcile`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta

import msgspec
from psycopg.rows import class_row

from domain.time import ist_ns, trade_date
from domain.trade_comparison import TradeComparison, TradeLeg
from storage.database import Connection, Database

# The trades of the day as they were; then, of each bust and correction reported on the day, what it took back
# and what it put in its place (whose own row keeps the time of the trade that it corrects).
_LEGS = """
    WITH undone AS (
        SELECT t.*, c.quantity AS new_quantity, c.price AS new_price
        FROM trades t JOIN exchange_inbox i ON (i.exchange, i.report_id) = (t.exchange, t.undone_by)
        LEFT JOIN trades c ON (c.exchange, c.exec_id) = (t.exchange, t.undone_by)
        WHERE t.exchange = %(exchange)s AND t.undone_by IS NOT NULL
          AND (i.report->>'transact_time_ns')::bigint BETWEEN %(first)s AND %(last)s
    ), legs AS (
        SELECT exec_id, order_id, user_id, instrument_id, transaction_type, quantity, price FROM trades t
        WHERE exchange = %(exchange)s AND traded_at_ns BETWEEN %(first)s AND %(last)s
          AND NOT EXISTS (SELECT FROM trades o WHERE o.exchange = t.exchange AND o.undone_by = t.exec_id)
        UNION ALL
        SELECT undone_by, order_id, user_id, instrument_id, transaction_type, -quantity, price FROM undone
        UNION ALL
        SELECT undone_by, order_id, user_id, instrument_id, transaction_type, new_quantity, new_price
        FROM undone WHERE new_quantity IS NOT NULL
    )
    SELECT exec_id, order_id::text AS order_id, client_id, transaction_type AS side, quantity, price,
           split_part(instrument_id, ':', 2) AS symbol
    FROM legs JOIN users USING (user_id)
    UNION ALL
    SELECT exec_id, split_part(cl_ord_id, '-', 1), '', transaction_type, quantity, price, symbol
    FROM error_trades WHERE exchange = %(exchange)s AND traded_at_ns BETWEEN %(first)s AND %(last)s
"""
_CLOSED = """
    SELECT exchange, max(since_ns) AS closed_ns FROM market_phases p WHERE exchange = ANY(%s)
    GROUP BY exchange
    HAVING bool_and(phase = 'CLOSED') AND max(since_ns) > COALESCE(
        (SELECT max(closed_ns) FROM trade_file_comparisons c WHERE c.exchange = p.exchange), 1)
"""
_KEEP = """
    INSERT INTO trade_file_comparisons (exchange, trade_date, closed_ns, compared_at_ns, filed, booked,
                                        different)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (exchange, trade_date) DO UPDATE SET closed_ns = excluded.closed_ns,
        compared_at_ns = excluded.compared_at_ns, filed = excluded.filed, booked = excluded.booked,
        different = excluded.different
    WHERE trade_file_comparisons.closed_ns < excluded.closed_ns
    RETURNING exchange
"""


@dataclass(frozen=True, slots=True)
class Closed:
    """An exchange whose day is over and has not been compared yet."""

    exchange: str
    closed_ns: int

    @property
    def day(self) -> date:
        return trade_date(self.closed_ns)


async def closed(database: Database, exchanges: Sequence[str]) -> list[Closed]:
    """Exchanges that have closed since they were last compared."""
    async with database.reading() as conn, conn.cursor(row_factory=class_row(Closed)) as cursor:
        return await (await cursor.execute(_CLOSED, (list(exchanges),))).fetchall()


async def booked_legs(database: Database, exchange: str, day: date) -> list[TradeLeg]:
    """What our books have of an exchange's day."""
    first, last = ist_ns(day, time.min), ist_ns(day + timedelta(1), time.min) - 1
    values = {"exchange": exchange, "first": first, "last": last}
    async with database.reading() as conn:
        found = await conn.execute(_LEGS, values)
        return [msgspec.convert(row, TradeLeg) for row in await found.fetchall()]


async def keep(conn: Connection, closing: Closed, compared: TradeComparison, now_ns: int) -> bool:
    """On record; False when another worker has compared this close already."""
    kept = await conn.execute(
        _KEEP,
        (
            compared.exchange,
            compared.day,
            closing.closed_ns,
            now_ns,
            compared.filed,
            compared.booked,
            len(compared.differences),
        ),
    )
    return await kept.fetchone() is not None
