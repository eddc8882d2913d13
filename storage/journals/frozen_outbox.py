"""What a freeze keeps from the exchange: orders and changes of the outbox that a state stops.

A halt stops every change; where reducing is allowed, one that only takes away from its order passes. The rows
of trading_states are asked in the gateway's own statements, so a freeze holds from its commit and a database
that is away lets nothing leave. The rule is domain/trading_states.py's, in SQL. A withdrawn order ends
CANCELLED with the code that stopped it, a withdrawn change leaves its order as it is; the workflow is told
(storage/journals/order_queue.py) and gives the margin back. Called by the gateway alone.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from bus.order_updates import OrderUpdate
from domain.orders import OrderEvent, OrderStatus, next_status
from domain.rejects import Refusal
from domain.trading_states import state_refusal
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection, columns
from storage.locks import LockedOrder, lock_orders
from storage.risk.trading_states import standing_of

WITHDRAWN_AT_ONCE = 500
"""The record of a change that a freeze kept from the exchange: the order stands as it did."""

_KEYS = """('all', 'user:' || {row}.user_id,
            'instrument:' || {row}.exchange || ':' || ({row}.instruction->>'symbol'),
            (SELECT 'segment:' || exchange || ':' || segment FROM instruments
             WHERE instrument_id = {row}.exchange || ':' || ({row}.instruction->>'symbol')))"""
# The names inside are none that a row may be called by.
_OPENS = """(SELECT CASE product WHEN 'CNC' THEN placed.transaction_type = 'BUY'
                    ELSE COALESCE(open_quantity, 1) > 0 END
             FROM orders placed LEFT JOIN margin_holds hold USING (order_id, product)
             WHERE order_id = {row}.order_id)"""
_BY_HOUSE = """EXISTS (SELECT FROM house_orders house
                       JOIN orders placed USING (user_id)
                       WHERE placed.idempotency_key = house.key AND placed.order_id = {row}.order_id)"""
# The first condition is one look at an index that is empty nearly always.
STOPPED = f"""({{row}}.kind <> 'CANCEL'
    AND EXISTS (SELECT FROM trading_states WHERE state <> 'ACTIVE') AND EXISTS (
    SELECT FROM trading_states desk WHERE desk.state <> 'ACTIVE' AND desk.key IN {_KEYS}
      AND ((desk.state = 'HALTED' AND (desk.cause = 'CIRCUIT' OR NOT {_BY_HOUSE}))
           OR ({{row}}.enlarges AND {_OPENS}))))"""
"""A condition on a row of the outbox that is to leave for the first time; format it with the row's name."""

_AMONG = f"""
    SELECT seq FROM exchange_outbox o
    WHERE seq = ANY(%s) AND {STOPPED.format(row="o")}
"""
_PUT_BACK = """
    UPDATE exchange_outbox SET claimed_at_ns = NULL, session = NULL WHERE seq = ANY(%s) AND sent_at_ns IS NULL
"""
_WAITING = "claimed_at_ns IS NULL AND sent_at_ns IS NULL AND withdrawn_at_ns IS NULL"
_FIND = f"""
    SELECT w.seq, w.order_id, w.kind, s.scope, s.cause, s.state,
           w.enlarges AND {_OPENS.format(row="w")} AS opens,
           {_BY_HOUSE.format(row="w")} AS by_house
    FROM (SELECT o.* FROM exchange_outbox o JOIN orders USING (order_id)
          WHERE exchange = %s AND {_WAITING} AND (kind = 'REPLACE' OR status = 'PENDING_OPEN')
            AND {STOPPED.format(row="o")}
          ORDER BY intake_seq LIMIT {WITHDRAWN_AT_ONCE}) w
    JOIN trading_states s ON s.state <> 'ACTIVE' AND s.key IN {_KEYS.format(row="w")}
"""
_WITHDRAW = f"""
    UPDATE exchange_outbox SET withdrawn_at_ns = %(now)s, workflow_due_at_ns = %(now)s
    WHERE seq = ANY(%(seqs)s) AND {_WAITING} RETURNING seq
"""
_CANCEL = """
    UPDATE orders o SET status = s.status::order_status, reject_code = s.code, reject_reason = s.reason,
        updated_at_ns = s.at
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[])
        AS s (order_id, status, code, reason, at)
    WHERE o.order_id = s.order_id
"""
# A cancel follows its order; of one that was put back and withdrawn it would wait for ever.
_WITHDRAW_CANCELS = f"""
    UPDATE exchange_outbox SET withdrawn_at_ns = %(now)s, answered_at_ns = %(now)s
    WHERE order_id = ANY(%(order_ids)s) AND kind = 'CANCEL' AND {_WAITING}
"""
_PASS_GATE = "UPDATE order_intake SET gate_passed_at_ns = %s WHERE order_id = ANY(%s)"


async def among(conn: Connection, seqs: Sequence[int]) -> set[int]:
    """Which of these rows may not leave any more."""
    found = await conn.execute(_AMONG, (list(seqs),))
    return {row["seq"] for row in await found.fetchall()}


async def put_back(conn: Connection, seqs: Sequence[int]) -> None:
    """Claimed rows that were never handed to a session: unclaimed, to be withdrawn."""
    await conn.execute(_PUT_BACK, (list(seqs),))


async def withdraw(conn: Connection, exchange: str) -> list[OrderUpdate]:
    """Take what is stopped out of the outbox, at most WITHDRAWN_AT_ONCE; publish what it answers."""
    stopped = await _stopped(conn, exchange)
    if not stopped:
        return []
    orders = await lock_orders(conn, [one.order_id for one in stopped])
    for one in list(stopped):
        if not one.is_change and orders[one.order_id].view.status is not OrderStatus.PENDING_OPEN:
            stopped.remove(one)
    now = time.time_ns()
    taken = await conn.execute(_WITHDRAW, {"now": now, "seqs": [one.seq for one in stopped]})
    seqs = {row["seq"] for row in await taken.fetchall()}
    withdrawn = [one for one in stopped if one.seq in seqs]
    entries = [_entry(one, orders[one.order_id], now) for one in withdrawn]
    cancelled = [one for one in withdrawn if not one.is_change]
    if cancelled:
        status = next_status(OrderStatus.PENDING_OPEN, OrderEvent.WITHDRAWN).value
        rows = [(one.order_id, status, one.refusal.code, one.refusal.sentence, now) for one in cancelled]
        await conn.execute(_CANCEL, columns(rows))
        await conn.execute(_PASS_GATE, (now, [one.order_id for one in cancelled]))
        await withdraw_cancels(conn, [one.order_id for one in cancelled], now)
    return await audit.append(conn, sorted(entries, key=lambda entry: entry.user_id))


async def withdraw_cancels(conn: Connection, order_ids: Sequence[int], now: int) -> None:
    """These orders never leave: nothing is to be cancelled of them."""
    await conn.execute(_WITHDRAW_CANCELS, {"now": now, "order_ids": list(order_ids)})


class _Stopped(NamedTuple):
    """A row that waits and may not leave."""

    seq: int
    order_id: int
    is_change: bool
    refusal: Refusal


async def _stopped(conn: Connection, exchange: str) -> list[_Stopped]:
    found = await conn.execute(_FIND, (exchange,))
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in await found.fetchall():
        rows.setdefault(row["seq"], []).append(row)
    stopped = []
    for seq, own in rows.items():
        standings, first = [standing_of(row) for row in own], own[0]
        refusal = state_refusal(standings, opens=first["opens"], by_house=first["by_house"])
        if refusal is not None:
            stopped.append(_Stopped(seq, first["order_id"], first["kind"] == "REPLACE", refusal))
    return stopped


def _entry(one: _Stopped, order: LockedOrder, now: int) -> AuditEntry:
    status = order.view.status
    return AuditEntry(
        occurred_at_ns=now,
        user_id=order.user_id,
        event=OrderEvent.CHANGE_WITHDRAWN if one.is_change else OrderEvent.WITHDRAWN,
        actor="gateway",
        order_id=order.order_id,
        status=status if one.is_change else next_status(status, OrderEvent.WITHDRAWN),
        detail={"reject_code": one.refusal.code, "reject_reason": one.refusal.sentence},
        traceparent=order.traceparent,
    )
