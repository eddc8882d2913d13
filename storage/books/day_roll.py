"""The figures of the day brought to the next: nothing bought, sold or realised yet, and what is open carried.

What was realised before today becomes cash, profit and loss, by a movement of the ledger: the clearing house
settles it on the day after the trade. What is of the day is counted from the trades by their own time, under
the ledger rows' locks. So it does not matter how often this runs, after how many days, between which trades
of today or with reports of yesterday still to be booked: whatever is due is moved, once. Called by the day
roll, which the operations worker starts, too (activities/day_roll.py). Rules: docs/pnl.md.
"""

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta

from psycopg.rows import class_row

from domain.time import ist_ns
from storage.database import Connection, Database, columns

ROLLED_AT_ONCE = 100
"""Accounts of one transaction, whose bookings wait for it."""

# Each position beside its trades of today.
_TODAY = """
    SELECT p.*, COALESCE(sum(t.realized_pnl), 0)::bigint AS realized,
           COALESCE(sum(quantity) FILTER (WHERE transaction_type = 'BUY'), 0)::int AS bought,
           COALESCE(sum(quantity) FILTER (WHERE transaction_type = 'SELL'), 0)::int AS sold,
           COALESCE(sum(quantity * price) FILTER (WHERE transaction_type = 'BUY'), 0)::bigint AS paid,
           COALESCE(sum(quantity * price) FILTER (WHERE transaction_type = 'SELL'), 0)::bigint AS earned
    FROM positions p LEFT JOIN trades t
        ON (t.user_id, t.instrument_id, t.product) = (p.user_id, p.instrument_id, p.product)
        AND traded_at_ns >= %(today)s AND undone_by IS NULL
    {only} GROUP BY p.user_id, p.instrument_id, p.product
"""
# What its columns are to be: what it was before today, and the trades.
_FIT = """
    SELECT user_id, instrument_id, product, realized,
           GREATEST(net, 0) + bought AS buys, GREATEST(-net, 0) + sold AS sales,
           CASE WHEN net > 0 THEN cost ELSE 0 END + paid AS buy_worth,
           CASE WHEN net < 0 THEN -cost ELSE 0 END + earned AS sale_worth
    FROM today CROSS JOIN LATERAL (SELECT buy_quantity - sell_quantity - bought + sold AS net,
                                          open_cost - paid + earned - realized AS cost) before
"""
_WRONG = """
    (p.buy_quantity, p.sell_quantity, p.buy_value, p.sell_value, p.realized_pnl)
    IS DISTINCT FROM (buys, sales, buy_worth, sale_worth, realized)
"""
_REALIZED = "LEFT JOIN (SELECT user_id, sum(realized)::bigint AS of_today FROM today GROUP BY user_id) t"
# An account that traded on the day before is told to its owner anew: a version of its own.
_DUE = f"""
    WITH today AS ({_TODAY.format(only="")}), fit AS ({_FIT})
    SELECT user_id FROM margin_ledger {_REALIZED} USING (user_id) WHERE realized_pnl <> COALESCE(of_today, 0)
    UNION SELECT user_id FROM positions p JOIN fit USING (user_id, instrument_id, product) WHERE {_WRONG}
    UNION SELECT user_id FROM trades WHERE traded_at_ns >= %(yesterday)s AND traded_at_ns < %(today)s
    ORDER BY user_id
"""
_LOCK = "SELECT FROM margin_ledger WHERE user_id = ANY(%s) ORDER BY user_id FOR UPDATE"
_OWN = _TODAY.format(only="WHERE p.user_id = ANY(%(users)s)")
_POSITIONS = f"""
    WITH today AS ({_OWN}), fit AS ({_FIT})
    UPDATE positions p SET buy_quantity = buys, sell_quantity = sales, buy_value = buy_worth,
        sell_value = sale_worth, realized_pnl = realized
    FROM fit WHERE (p.user_id, p.instrument_id, p.product) = (fit.user_id, fit.instrument_id, fit.product)
        AND {_WRONG}
"""
_GONE = """
    DELETE FROM positions WHERE user_id = ANY(%s) AND buy_quantity = 0 AND sell_quantity = 0
        AND open_cost = 0 AND realized_pnl = 0 AND margin = 0
"""
_LEDGERS = f"""
    WITH today AS ({_OWN}), due AS (
        SELECT user_id, realized_pnl - COALESCE(of_today, 0) AS amount
        FROM margin_ledger {_REALIZED} USING (user_id) WHERE user_id = ANY(%(users)s))
    UPDATE margin_ledger l SET cash = cash + amount, realized_pnl = realized_pnl - amount,
        generation = CASE WHEN amount = 0 THEN generation ELSE nextval('margin_generations') END,
        updated_at_ns = %(now)s
    FROM due WHERE l.user_id = due.user_id RETURNING l.user_id, amount, version
"""
_POST = """
    INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Rolled:
    user_id: int
    amount: int
    """Paise that became cash; below zero: a loss."""
    version: int
    """Of the account's portfolio: no two movements of it have the same."""


async def due(database: Database, day: date) -> list[int]:
    """Accounts whose figures are not those of the day, or were on show the day before."""
    days = {"today": ist_ns(day, time()), "yesterday": ist_ns(day - timedelta(days=1), time())}
    async with database.reading() as conn:
        found = await conn.execute(_DUE.encode(), days)
        return [row["user_id"] for row in await found.fetchall()]


async def roll(conn: Connection, user_ids: Sequence[int], day: date) -> list[Rolled]:
    """Bring these accounts to the day; those whose cash has moved, and whose margin view is void by that."""
    now = clock.time_ns()
    users = sorted(user_ids)
    values = {"users": users, "today": ist_ns(day, time()), "now": now}
    await conn.execute(_LOCK, (users,))
    await conn.execute(_POSITIONS.encode(), values)
    await conn.execute(_GONE, (users,))
    async with conn.cursor(row_factory=class_row(Rolled)) as cursor:
        rolled = await (await cursor.execute(_LEDGERS.encode(), values)).fetchall()
    moved = [account for account in rolled if account.amount]
    if moved:
        await conn.execute(_POST, columns(row for account in moved for row in _postings(account, day, now)))
    return moved


def _postings(account: Rolled, day: date, now: int) -> list[tuple[str, str, int, int]]:
    """The clearing house's debt for what the trades made, or the client's, becomes cash."""
    movement = f"realized:{day}:{account.user_id}:{account.version}"
    return [
        (movement, f"cash:{account.user_id}", account.amount, now),
        (movement, f"unsettled:{account.user_id}", -account.amount, now),
    ]
