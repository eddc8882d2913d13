"""The intake: an order is acknowledged when it is durable, and never before.

One transaction (of a group, storage/group_commit.py) holds the idempotency key, the order, its
first record and its place in the acknowledgement order; the unique key (user, key) decides repeats.
Called by `POST /api/v1/orders`, and for closing orders of the house by the operations worker.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from redis.asyncio import Redis

from bus import order_updates, wakeups
from bus.order_updates import OrderUpdate
from config.rules import order_rules
from domain.money import rupees, unscaled
from domain.order_rules import OrderRules
from domain.orders import OrderEvent, OrderStatus
from domain.rejects import Refusal
from domain.time import order_id_floor, trade_date
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection, Database, columns
from storage.group_commit import GroupCommit
from storage.journals import intake_keys
from storage.journals.order_requests import (
    CLIENT,
    Acknowledgement,
    IdempotencyConflict,
    OrderRequest,
    OrdersRefused,
)
from telemetry import stages
from telemetry.spans import past_span

SERIALS_A_BLOCK = 1_000
BLOCKS_A_DAY = 1_000_000
TURN_NS = 100_000_000
"""Between two turns of a user: ten orders a second are what the regulator takes for an ordinary client's."""

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
# A user's turn is the moment of the acknowledgement, or follows the last of his that has not left yet.
_INTAKE = """
    INSERT INTO order_intake (order_id, user_id, accepted_at_ns, turn_ns)
    SELECT order_id, user_id, at, GREATEST(at, last.turn_ns + %s) + %s
           * (row_number() OVER (PARTITION BY user_id ORDER BY arrival) - 1)
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
        AS accepted (order_id, user_id, at, arrival)
    LEFT JOIN LATERAL (SELECT turn_ns FROM order_intake i
                       WHERE i.user_id = accepted.user_id AND gate_passed_at_ns IS NULL
                       ORDER BY seq DESC LIMIT 1) last ON true
    ORDER BY arrival
"""


@dataclass(frozen=True, slots=True)
class AcceptedOrders:
    acknowledgement: Acknowledgement
    told: OrderUpdate | None


class Intake:
    """One a process. `accept` returns once the order is on disk."""

    def __init__(
        self, database: Database, redis: Redis, rules: Callable[[date], OrderRules] = order_rules
    ) -> None:
        self._database, self._redis, self.rules = database, redis, rules
        self._group = GroupCommit(database, self._write, self.tell)
        self._serials: Iterator[int] = iter(())

    async def accept(self, request: OrderRequest) -> Acknowledgement:
        """Make the order durable. Raises IdempotencyConflict, OrdersRefused, or the database's error: then
        the outcome is unknown to us too, and the client repeats with the same key."""
        return (await self._group.commit(request)).acknowledgement

    async def first_answer(self, request: OrderRequest) -> Acknowledgement | None:
        """What `accept` would answer a repeat; None when the key is new. Raises IdempotencyConflict.

        For a caller who would refuse the order now: a key that was used is answered before any gate.
        """
        async with self._database.reading() as conn:
            first = await intake_keys.first_answers(conn, [request])
        found = first.get((request.user_id, request.key))
        return None if found is None else found.repeated_to(request)

    async def room_refusal(self, user_id: int, at_ns: int, orders: int) -> Refusal | None:
        """Why so many more orders would not be taken now."""
        day = trade_date(at_ns)
        rules = self.rules(day)
        async with self._database.reading() as conn:
            living = await intake_keys.living_orders(conn, [user_id], day)
        return None if rules.have_room(living[user_id], orders) else rules.no_room

    async def _write(
        self, conn: Connection, requests: Sequence[OrderRequest]
    ) -> list[AcceptedOrders | IdempotencyConflict | OrdersRefused]:
        order_ids = [await self.mint(conn, request) for request in requests]
        claimed = await intake_keys.claim(conn, requests, order_ids)
        asked = list(zip(order_ids, requests, strict=True))
        new = self._with_room([pair for pair in asked if pair[0] in claimed.order_ids], claimed.living)
        without = claimed.order_ids - {order_id for order_id, _ in new}
        if without:
            await intake_keys.forget(conn, without)
        first = {} if len(new) == len(asked) else await intake_keys.first_answers(conn, requests)
        told = await record(conn, new) if new else {}
        return [
            AcceptedOrders(Acknowledgement(order_id, one.received_at_ns, replayed=False), told[order_id])
            if order_id in told
            else self._not_placed(one, first.get((one.user_id, one.key)))
            for order_id, one in asked
        ]

    def _with_room(
        self, new: list[tuple[int, OrderRequest]], living: dict[int, int]
    ) -> list[tuple[int, OrderRequest]]:
        """Those that their accounts have room for, as they come; the house's orders need none."""
        fitting = []
        for order_id, one in new:
            if one.actor != CLIENT or self._rules_of(one).have_room(living[one.user_id]):
                living[one.user_id] += 1
                fitting.append((order_id, one))
        return fitting

    def _not_placed(
        self, request: OrderRequest, first: intake_keys.FirstAnswer | None
    ) -> AcceptedOrders | IdempotencyConflict | OrdersRefused:
        if first is None:
            return OrdersRefused(self._rules_of(request).no_room)
        try:
            return AcceptedOrders(first.repeated_to(request), None)
        except IdempotencyConflict as conflict:
            return conflict

    def _rules_of(self, request: OrderRequest) -> OrderRules:
        return self.rules(trade_date(request.received_at_ns))

    async def tell(self, answered: Sequence[tuple[OrderRequest, AcceptedOrders]]) -> None:
        """After the commit: order workers are woken, the clients told."""
        told = [accepted.told for _, accepted in answered if accepted.told is not None]
        if told:
            await wakeups.wake(self._redis, wakeups.INTAKE)
            await order_updates.publish(self._redis, told)
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
    places = columns((order_id, r.user_id, r.received_at_ns) for order_id, r in new)
    await conn.execute(_INTAKE, (TURN_NS, TURN_NS, *places))
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
