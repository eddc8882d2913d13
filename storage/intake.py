"""The intake: an order is acknowledged when it is durable, and never before.

One transaction (of a group, storage/group_commit.py) holds the idempotency key, the order, its
first record and its place in the acknowledgement order; the unique key (user, key) decides repeats.
Called by `POST /api/v1/orders`, and for closing orders of the house by the operations worker.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row
from redis.asyncio import Redis

from domain.money import rupees, unscaled
from domain.orders import OrderEvent, OrderStatus, OrderTerms
from domain.time import order_id_floor, trade_date
from storage import audit, updates, wakeups
from storage.audit import AuditEntry, OrderUpdate
from storage.database import Connection, Database, columns
from storage.group_commit import GroupCommit
from telemetry import stages
from telemetry.spans import past_span

SERIALS_A_BLOCK = 1_000
BLOCKS_A_DAY = 1_000_000

_KEYS = """
    INSERT INTO idempotency_keys (user_id, key, order_id, body_hash, created_at_ns)
    SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::bytea[], %s::bigint[])
        AS asked (user_id, key, order_id, body_hash, at) ORDER BY user_id, key, order_id
    ON CONFLICT DO NOTHING RETURNING order_id
"""
_FIRST = """
    SELECT user_id, key, order_id, body_hash, created_at_ns,
           ARRAY(SELECT o.order_id FROM orders o WHERE o.parent_id = k.order_id ORDER BY 1) AS children
    FROM idempotency_keys k WHERE (user_id, key) IN (SELECT * FROM unnest(%s::bigint[], %s::uuid[]))
"""
_ORDERS = """
    INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product, validity,
                        quantity, price, trigger_price, market_protection, tag, idempotency_key, traceparent,
                        created_at_ns, updated_at_ns)
    SELECT order_id, user_id, instrument_id, order_type::order_type, side::side, product::product,
           validity::validity, quantity, price, trigger_price, market_protection, tag, key, traceparent, at,
           at
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                %s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::uuid[], %s::text[],
                %s::bigint[])
        AS asked (order_id, user_id, instrument_id, order_type, side, product, validity, quantity, price,
                  trigger_price, market_protection, tag, key, traceparent, at)
"""
_INTAKE = """
    INSERT INTO order_intake (order_id, user_id, accepted_at_ns)
    SELECT order_id, user_id, at FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
        AS accepted (order_id, user_id, at, arrival) ORDER BY arrival
"""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asked, its shape already checked."""

    user_id: int
    key: UUID
    body_hash: bytes
    """Of the terms: the same key with another body is a conflict."""
    terms: OrderTerms
    received_at_ns: int
    tag: str | None = None
    client_ip: str | None = None
    device: str | None = None
    traceparent: str = ""
    actor: str = "client"
    """Who places it, for the record: the client, or who acts for the house."""
    parent_id: int | None = None
    """Of a slice (storage/slices.py)."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The 202. A replayed one is the first answer again, its time included."""

    order_id: int
    accepted_at_ns: int
    replayed: bool
    children: tuple[int, ...] = ()
    """The slices of a sliced order, ascending."""


class IdempotencyConflict(Exception):
    """The key was used before, with another body."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"the key belongs to order {order_id}, which was asked for with another body")
        self.order_id = order_id


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


@dataclass(frozen=True, slots=True)
class Accepted:
    acknowledgement: Acknowledgement
    told: OrderUpdate | None


class Intake:
    """One a process. `accept` returns once the order is on disk."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database, self._redis = database, redis
        self._group = GroupCommit(database, self._write, self.tell)
        self._serials: Iterator[int] = iter(())

    async def accept(self, request: OrderRequest) -> Acknowledgement:
        """Make the order durable. Raises IdempotencyConflict, or the database's error: then the outcome is
        unknown to us too, and the client repeats with the same key."""
        return (await self._group.commit(request)).acknowledgement

    async def first_answer(self, request: OrderRequest) -> Acknowledgement | None:
        """What `accept` would answer a repeat; None when the key is new. Raises IdempotencyConflict.

        For a caller who would refuse the order now: a key that was used is answered before any gate.
        """
        async with self._database.reading() as conn:
            first = await first_answers(conn, [request])
        found = first.get((request.user_id, request.key))
        return None if found is None else found.repeated_to(request)

    async def _write(
        self, conn: Connection, requests: Sequence[OrderRequest]
    ) -> list[Accepted | IdempotencyConflict]:
        order_ids = [await self.mint(conn, request) for request in requests]
        accepted = await claim_keys(conn, requests, order_ids)
        new = [pair for pair in zip(order_ids, requests, strict=True) if pair[0] in accepted]
        first = {} if len(new) == len(requests) else await first_answers(conn, requests)
        told = await record(conn, new) if new else {}
        return [
            Accepted(Acknowledgement(order_id, r.received_at_ns, replayed=False), told[order_id])
            if order_id in accepted
            else _replayed(r, first[r.user_id, r.key])
            for order_id, r in zip(order_ids, requests, strict=True)
        ]

    async def tell(self, answered: Sequence[tuple[OrderRequest, Accepted]]) -> None:
        """After the commit: order workers are woken, the clients told."""
        told = [accepted.told for _, accepted in answered if accepted.told is not None]
        if told:
            await wakeups.wake(self._redis, wakeups.INTAKE)
            await updates.publish(self._redis, told)
        for request, accepted in answered:
            order_id = str(accepted.acknowledgement.order_id)
            stages.record("intake", time.time_ns() - request.received_at_ns)
            past_span("intake", request.traceparent, request.received_at_ns, order_id=order_id)

    async def mint(self, conn: Connection, request: OrderRequest) -> int:
        """`YYMMDD` and nine digits. Serials come in blocks; a block that a crash left behind is a gap."""
        serial = next(self._serials, None)
        if serial is None:
            taken = await conn.execute("SELECT nextval('order_serial_blocks') AS block")
            row = await taken.fetchone()
            assert row is not None
            first = row["block"] % BLOCKS_A_DAY * SERIALS_A_BLOCK
            self._serials = iter(range(first + 1, first + SERIALS_A_BLOCK))
            serial = first
        return order_id_floor(trade_date(request.received_at_ns)) + serial


async def claim_keys(conn: Connection, requests: Sequence[OrderRequest], order_ids: list[int]) -> set[int]:
    """The order ids whose key was free: these are new orders, the others repeats."""
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
    return {row["order_id"] async for row in claimed}


async def first_answers(
    conn: Connection, requests: Sequence[OrderRequest]
) -> dict[tuple[int, UUID], FirstAnswer]:
    """By user and key, what each key that was used before was used for."""
    async with conn.cursor(row_factory=class_row(FirstAnswer)) as cursor:
        await cursor.execute(_FIRST, ([r.user_id for r in requests], [r.key for r in requests]))
        return {(row.user_id, row.key): row async for row in cursor}


async def record(conn: Connection, new: list[tuple[int, OrderRequest]]) -> dict[int, OrderUpdate]:
    """Orders, their first record, their place. The record comes first: it takes the users' locks, so places
    are given in each user's commit order, whichever process commits."""
    rows = [
        (
            order_id,
            r.user_id,
            r.terms.instrument_id,
            r.terms.order_type.value,
            r.terms.side.value,
            r.terms.product.value,
            r.terms.validity.value,
            r.terms.quantity,
            r.terms.price,
            r.terms.trigger_price,
            r.terms.market_protection,
            r.tag,
            r.key,
            r.traceparent,
            r.received_at_ns,
        )
        for order_id, r in new
    ]
    await conn.execute(_ORDERS, columns(rows))
    by_user = sorted(new, key=lambda pair: pair[1].user_id)
    told = await audit.append(conn, [_entry(order_id, request) for order_id, request in by_user])
    await conn.execute(_INTAKE, columns((order_id, r.user_id, r.received_at_ns) for order_id, r in new))
    return {order_id: update for (order_id, _), update in zip(by_user, told, strict=True)}


def _entry(order_id: int, request: OrderRequest) -> AuditEntry:
    terms, protection = request.terms, request.terms.market_protection
    detail = {
        "instrument_id": terms.instrument_id,
        "order_type": terms.order_type,
        "transaction_type": terms.side,
        "product": terms.product,
        "validity": terms.validity,
        "quantity": terms.quantity,
        "price": None if terms.price is None else rupees(terms.price),
        "trigger_price": None if terms.trigger_price is None else rupees(terms.trigger_price),
        "market_protection": None if protection is None else unscaled(protection, 2),
        "parent_order_id": None if request.parent_id is None else str(request.parent_id),
    }
    return AuditEntry(
        occurred_at_ns=request.received_at_ns,
        user_id=request.user_id,
        event=OrderEvent.ACCEPTED,
        actor=request.actor,
        order_id=order_id,
        status=OrderStatus.PENDING_VALIDATION,
        detail={name: value for name, value in detail.items() if value is not None},
        client_ip=request.client_ip,
        device=request.device,
        traceparent=request.traceparent,
    )


def _replayed(request: OrderRequest, first: FirstAnswer) -> Accepted | IdempotencyConflict:
    try:
        return Accepted(first.repeated_to(request), None)
    except IdempotencyConflict as conflict:
        return conflict
