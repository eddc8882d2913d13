"""What an order worker has to do: orders to start, and reports and withdrawals to tell workflows of.

Orders are claimed by their turn (storage/journals/intake.py), so that nobody waits behind another's backlog;
a user's own turns follow his acknowledgements. Claims are leases: a row that was claimed and not started in
time is claimed by another worker, a report that was told and not booked in time is told again. Telling twice
is harmless.
"""

from typing import Any

from psycopg.rows import DictRow

from domain.orders import PlacedOrder
from domain.time import trade_date
from storage.database import Database
from storage.journals import placed_orders
from storage.journals.placed_orders import placed_order
from storage.live_orders import oldest_living

LEASE_NS = 2_000_000_000
FOREIGN_AFTER_NS = 1_000_000_000
"""A report that its owner has not taken by then is anyone's."""
TELL_AGAIN_NS = 5_000_000_000
IN_HAND_MAX = 10
"""Orders of one user that workers have in hand at once; as many as may be in flight to the exchange."""

# In hand is what workers have claimed and not decided: so many at most of a user, and of an owner.
# Both rows are taken without waiting: who cancels has the order's row first, and then wants the intake's.
# (Arrays and a subquery, not joins: a table that a burst has just filled has no statistics.)
CLAIM = f"""
    WITH in_hand AS MATERIALIZED (
        SELECT user_id, owner FROM orders o
        WHERE status = 'PENDING_VALIDATION' AND owner IS NOT NULL AND order_id >= %(oldest)s
          AND (SELECT gate_passed_at_ns IS NULL
                      AND (started_at_ns IS NOT NULL OR claimed_at_ns >= %(now)s - %(lease)s)
               FROM order_intake i WHERE i.order_id = o.order_id)
    ), users AS MATERIALIZED (
        SELECT user_id, count(*) AS orders FROM in_hand GROUP BY user_id
    ), next AS MATERIALIZED (
        SELECT order_id, user_id, seq FROM order_intake
        WHERE started_at_ns IS NULL AND (claimed_at_ns IS NULL OR claimed_at_ns < %(now)s - %(lease)s)
          AND user_id <> ALL(ARRAY(SELECT user_id FROM users WHERE orders >= {IN_HAND_MAX}))
        ORDER BY turn_ns, seq
        LIMIT GREATEST(0, %(most)s - (SELECT count(*) FROM in_hand WHERE owner = %(owner)s))
        FOR UPDATE SKIP LOCKED
    ), fair AS (
        SELECT order_id
        FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY seq) AS nth FROM next) n
        LEFT JOIN users USING (user_id) WHERE nth + COALESCE(orders, 0) <= {IN_HAND_MAX}
    ), free AS MATERIALIZED (
        SELECT order_id FROM orders WHERE order_id = ANY(ARRAY(SELECT order_id FROM fair))
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE order_intake SET claimed_by = %(owner)s, claimed_at_ns = %(now)s
        WHERE order_id = ANY(ARRAY(SELECT order_id FROM free)) RETURNING seq, order_id, accepted_at_ns
    )
    UPDATE orders SET owner = %(owner)s FROM claimed WHERE orders.order_id = claimed.order_id
    RETURNING {placed_orders.COLUMNS}
"""
_DUE = """
    UPDATE exchange_inbox SET signalled_at_ns = %(now)s WHERE seq IN (
        SELECT seq FROM exchange_inbox
        WHERE consumed_at_ns IS NULL AND broken IS NULL AND order_id IS NOT NULL
          AND (owner = %(owner)s OR received_at_ns < %(now)s - %(foreign)s)
          AND (signalled_at_ns IS NULL OR signalled_at_ns < %(now)s - %(again)s)
        ORDER BY seq LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING seq, order_id, report
"""
_WITHDRAWN = """
    UPDATE exchange_outbox o SET workflow_due_at_ns = %(now)s + %(again)s
    FROM (SELECT seq FROM exchange_outbox WHERE workflow_due_at_ns <= %(now)s
          ORDER BY workflow_due_at_ns LIMIT 500 FOR UPDATE SKIP LOCKED) due
    WHERE o.seq = due.seq RETURNING o.order_id, o.kind
"""
_SENTENCES = {
    "NEW": "The order was withdrawn before it left for the exchange.",
    "REPLACE": "A change of the order was withdrawn before it left for the exchange.",
}


async def claim_orders(database: Database, owner: str, most: int, now_ns: int) -> list[PlacedOrder]:
    """Orders to start now, in the users' turns; at most `most` of this owner are in hand at once."""
    oldest = oldest_living(trade_date(now_ns))
    values = {"owner": owner, "most": most, "now": now_ns, "lease": LEASE_NS, "oldest": oldest}
    async with database.transaction() as conn:
        rows = await (await conn.execute(CLAIM, values)).fetchall()
    return [placed_order(row) for row in sorted(rows, key=lambda row: row["seq"])]


async def mark_started(database: Database, order_ids: list[int], now_ns: int) -> None:
    """Their workflows exist: the intake need not offer them again."""
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE order_intake SET started_at_ns = %s WHERE order_id = ANY(%s)", (now_ns, order_ids)
        )


async def reports_due(database: Database, owner: str, now_ns: int) -> dict[int, list[DictRow]]:
    """Reports to tell workflows of, by order, in the order they came."""
    values: dict[str, Any] = {
        "owner": owner,
        "now": now_ns,
        "foreign": FOREIGN_AFTER_NS,
        "again": TELL_AGAIN_NS,
    }
    async with database.transaction() as conn:
        rows = await (await conn.execute(_DUE, values)).fetchall()
    due: dict[int, list[DictRow]] = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        due.setdefault(row["order_id"], []).append(row)
    return due


async def withdrawals_due(database: Database, now_ns: int) -> dict[int, str]:
    """Orders that, or whose change, were withdrawn without their workflows, each with a sentence that says
    which; until these know (their booking step says so, storage/journals/unbooked.py).
    """
    async with database.transaction() as conn:
        rows = await (await conn.execute(_WITHDRAWN, {"now": now_ns, "again": TELL_AGAIN_NS})).fetchall()
    return {row["order_id"]: _SENTENCES[row["kind"]] for row in rows}
