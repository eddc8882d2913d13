"""Idempotency keys: which requests are new, and what the others were answered first.

Taken in the intake's transaction, which holds the users' streams from here on: whoever counts an account's
living orders then counts every one before its own. Called by storage/journals/intake.py and slices.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from domain.time import trade_date
from storage.database import Connection
from storage.journals.order_requests import Acknowledgement, IdempotencyConflict, OrderRequest
from storage.live_orders import LIVE, oldest_living

# A user's orders are acknowledged one transaction after the other, so that each counts those before it.
_LOCK_USERS = "SELECT FROM update_sequences WHERE user_id = ANY(%s) ORDER BY user_id FOR UPDATE"
_KEYS = """
    INSERT INTO idempotency_keys (user_id, key, order_id, body_hash, created_at_ns)
    SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::bytea[], %s::bigint[])
        AS asked (user_id, key, order_id, body_hash, at) ORDER BY user_id, key, order_id
    ON CONFLICT DO NOTHING RETURNING order_id
"""
_LIVING = f"""
    SELECT user_id, (SELECT count(*) FROM orders o
                     WHERE o.user_id = u.user_id AND {LIVE} AND order_id >= %s) AS living
    FROM unnest(%s::bigint[]) AS u (user_id)
"""
_FORGET = "DELETE FROM idempotency_keys WHERE order_id = ANY(%s)"
_FIRST = """
    SELECT user_id, key, order_id, body_hash, created_at_ns,
           ARRAY(SELECT o.order_id FROM orders o WHERE o.parent_id = k.order_id ORDER BY 1) AS children
    FROM idempotency_keys k WHERE (user_id, key) IN (SELECT * FROM unnest(%s::bigint[], %s::uuid[]))
"""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What a key was used for first."""

    user_id: int
    key: UUID
    order_id: int
    body_hash: bytes
    created_at_ns: int
    children: list[int]

    def repeated_to(self, request: OrderRequest) -> Acknowledgement:
        """The first answer again. Raises IdempotencyConflict when another body was meant."""
        if self.body_hash != request.body_hash:
            raise IdempotencyConflict(self.order_id)
        return Acknowledgement(self.order_id, self.created_at_ns, replayed=True, children=(*self.children,))


class ClaimedKeys(NamedTuple):
    order_ids: set[int]
    """Whose key was free: these are new orders, the others repeats."""
    living: dict[int, int]
    """Orders of each user that are not final, before these; nobody else places one until the commit."""


async def claim(conn: Connection, requests: Sequence[OrderRequest], order_ids: list[int]) -> ClaimedKeys:
    """Take the keys that are free. The users' streams are locked from here on."""
    users = sorted({r.user_id for r in requests})
    await conn.execute(_LOCK_USERS, (users,))
    claimed = await conn.execute(
        _KEYS,
        (
            [r.user_id for r in requests],
            [r.key for r in requests],
            order_ids,
            [r.body_hash for r in requests],
            [r.received_at_ns for r in requests],
        ),
    )
    living = await living_orders(conn, users, trade_date(min(r.received_at_ns for r in requests)))
    return ClaimedKeys({row["order_id"] async for row in claimed}, living)


async def living_orders(conn: Connection, user_ids: Sequence[int], day: date) -> dict[int, int]:
    """How many orders of each user are not final on a day."""
    counted = await conn.execute(_LIVING, (oldest_living(day), list(user_ids)))
    return {row["user_id"]: row["living"] async for row in counted}


async def first_answers(
    conn: Connection, requests: Sequence[OrderRequest]
) -> dict[tuple[int, UUID], FirstAnswer]:
    """By user and key, what each key that was used before was used for."""
    async with conn.cursor(row_factory=class_row(FirstAnswer)) as cursor:
        await cursor.execute(_FIRST, ([r.user_id for r in requests], [r.key for r in requests]))
        return {(row.user_id, row.key): row async for row in cursor}


async def forget(conn: Connection, order_ids: Iterable[int]) -> None:
    """These orders are not placed after all: their keys are free again."""
    await conn.execute(_FORGET, (list(order_ids),))
