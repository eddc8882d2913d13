"""The outbox: what we owe the exchange, claimed in acknowledgement order, each user's orders in theirs.

A NEW order may leave only when each earlier order of its user has passed the gate or was claimed for this
exchange before it (the sender keeps the order of its claims), and while fewer than IN_FLIGHT_MAX of the
user's orders await an answer. A cancel or replace leaves after its order was sent, and nothing that a freeze
stops; a cancel that was asked for before an order of its user leaves before it. Claimed and not marked sent
means: outcome unknown, so it is repeated with PossResend and the same ClOrdID. Called by the gateway alone
(one claimer an exchange).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder
from domain.orders import OrderEvent
from storage.audit import AuditEntry
from storage.database import Connection
from storage.journals.frozen_outbox import STOPPED
from storage.locks import LockedOrder

IN_FLIGHT_MAX = 10
_KINDS: dict[str, type[NewOrder] | type[CancelOrder] | type[ReplaceOrder]] = {
    "NEW": NewOrder,
    "CANCEL": CancelOrder,
    "REPLACE": ReplaceOrder,
}
_SENT_EVENTS = {"NEW": OrderEvent.SENT, "CANCEL": OrderEvent.CANCEL_SENT, "REPLACE": OrderEvent.REPLACE_SENT}
_COLUMNS = "seq, kind, cl_ord_id, order_id, user_id, session, instruction, traceparent, created_at_ns, sends"

# A row's armed phase must be the exchange's own last word on the session class of its instrument.
_RELEASED = """({row}.release_phases IS NULL OR EXISTS (
    SELECT FROM market_phases m JOIN instruments n USING (exchange, segment, session_class)
    WHERE n.instrument_id = {row}.exchange || ':' || ({row}.instruction->>'symbol')
      AND m.phase = ANY({row}.release_phases)))"""
_WAITING = "{row}.claimed_at_ns IS NULL AND {row}.sent_at_ns IS NULL AND {row}.withdrawn_at_ns IS NULL"

# `stuck` is each user's first order before the gate that neither leaves now nor is leaving: none passes it.
# An array and a hashed NOT IN, not joins: a table that a burst has just filled has no statistics, and a bad
# plan took minutes. (`<> ALL` of an array is no hash: 20,000 armed orders took a second and a half.)
_CLAIM = f"""
    WITH in_flight AS MATERIALIZED (
        SELECT user_id, count(*) AS orders FROM exchange_outbox
        WHERE exchange = %(exchange)s AND kind = 'NEW' AND withdrawn_at_ns IS NULL
          AND ((sent_at_ns IS NOT NULL AND answered_at_ns IS NULL)
               OR (sent_at_ns IS NULL AND claimed_at_ns IS NOT NULL))
        GROUP BY user_id
    ), waiting AS MATERIALIZED (
        SELECT o.seq, o.order_id, o.user_id, o.intake_seq FROM exchange_outbox o
        WHERE o.exchange = %(exchange)s AND o.kind = 'NEW' AND {_WAITING.format(row="o")}
          AND {_RELEASED.format(row="o")} AND NOT {STOPPED.format(row="o")}
          AND (%(sessions)s::text[])[1 + o.user_id %% %(slots)s] IS NOT NULL
    ), leaving AS MATERIALIZED (
        SELECT order_id FROM waiting UNION ALL
        SELECT order_id FROM exchange_outbox
        WHERE exchange = %(exchange)s AND kind = 'NEW' AND claimed_at_ns IS NOT NULL AND sent_at_ns IS NULL
          AND withdrawn_at_ns IS NULL
    ), stuck AS MATERIALIZED (
        SELECT user_id, min(seq) AS seq FROM order_intake
        WHERE gate_passed_at_ns IS NULL AND user_id = ANY(ARRAY(SELECT DISTINCT user_id FROM waiting))
          AND order_id NOT IN (SELECT order_id FROM leaving)
        GROUP BY user_id
    ), new_orders AS (
        SELECT seq, user_id, intake_seq, 0 AS place
        FROM (SELECT w.*, row_number() OVER (PARTITION BY w.user_id ORDER BY w.intake_seq) AS nth
              FROM waiting w LEFT JOIN stuck s USING (user_id)
              WHERE s.seq IS NULL OR w.intake_seq < s.seq) free
        LEFT JOIN in_flight f USING (user_id)
        WHERE nth + COALESCE(f.orders, 0) <= {IN_FLIGHT_MAX}
        ORDER BY intake_seq LIMIT %(limit)s
    ), changes AS (
        SELECT o.seq, o.user_id, o.intake_seq,
               CASE WHEN kind = 'CANCEL' AND EXISTS (SELECT FROM new_orders n
                                                     WHERE n.user_id = o.user_id AND n.seq > o.seq)
                    THEN -1 ELSE 1 END AS place
        FROM exchange_outbox o
        WHERE o.exchange = %(exchange)s AND o.kind <> 'NEW' AND {_WAITING.format(row="o")}
          AND (%(sessions)s::text[])[1 + o.user_id %% %(slots)s] IS NOT NULL
          AND EXISTS (SELECT FROM exchange_outbox n WHERE n.order_id = o.order_id AND n.kind = 'NEW'
                      AND n.sent_at_ns IS NOT NULL)
          AND NOT {STOPPED.format(row="o")}
        ORDER BY o.seq LIMIT %(limit)s
    ), claimed AS (
        UPDATE exchange_outbox o
        SET claimed_at_ns = %(now_ns)s, session = (%(sessions)s::text[])[1 + o.user_id %% %(slots)s]
        FROM (SELECT * FROM new_orders UNION ALL SELECT * FROM changes) c
        WHERE o.seq = c.seq AND {_WAITING.format(row="o")}
        RETURNING o.*, c.place
    )
    SELECT {_COLUMNS} FROM claimed ORDER BY place, CASE place WHEN 0 THEN intake_seq ELSE seq END
"""
_UNKNOWN = f"""
    SELECT {_COLUMNS} FROM exchange_outbox
    WHERE exchange = %s AND sent_at_ns IS NULL AND withdrawn_at_ns IS NULL AND session = ANY(%s)
      AND claimed_at_ns IS NOT NULL
    ORDER BY kind <> 'NEW', intake_seq, seq
"""
_UNANSWERED = f"""
    SELECT {_COLUMNS} FROM exchange_outbox
    WHERE exchange = %s AND session = %s AND sent_at_ns < %s AND answered_at_ns IS NULL
      AND withdrawn_at_ns IS NULL
    ORDER BY seq
"""
_MARK = """
    UPDATE exchange_outbox o SET sent_at_ns = s.at_ns, sends = o.sends + 1
    FROM unnest(%s::bigint[], %s::bigint[]) AS s (seq, at_ns) WHERE o.seq = s.seq
"""
_PASS_GATE = """
    UPDATE order_intake i SET gate_passed_at_ns = s.at_ns
    FROM unnest(%s::bigint[], %s::bigint[]) AS s (order_id, at_ns)
    WHERE i.order_id = s.order_id AND i.gate_passed_at_ns IS NULL
"""
_ANSWER = """
    UPDATE exchange_outbox SET answered_at_ns = %s
    WHERE cl_ord_id = ANY(%s::text[]) AND answered_at_ns IS NULL RETURNING sent_at_ns
"""
_SEND_AGAIN = """
    UPDATE exchange_outbox SET sent_at_ns = NULL, claimed_at_ns = NULL, session = NULL
    WHERE cl_ord_id = ANY(%s::text[])
"""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One claimed row. `sends` counts the earlier sends we know of."""

    seq: int
    kind: str
    cl_ord_id: str
    order_id: int
    user_id: int
    session: str
    instruction: Instruction
    traceparent: str
    created_at_ns: int
    sends: int


@dataclass(frozen=True, slots=True)
class Sent:
    """An owed instruction that was handed to its FIX session."""

    owed: OutboxRow
    at_ns: int
    repeated: bool
    """With PossResend."""
    asked: bool = False
    """Whether it ever left is not known: the exchange is asked, not told again."""


async def claim(
    conn: Connection, exchange: str, sessions: Sequence[str | None], now_ns: int, limit: int = 500
) -> list[OutboxRow]:
    """Claim what may leave now, in sending order. `sessions[user_id % n]` carries a user's orders;
    None: that session is away and its users wait.
    """
    values = {
        "exchange": exchange,
        "sessions": list(sessions),
        "slots": len(sessions),
        "now_ns": now_ns,
        "limit": limit,
    }
    cursor = await conn.execute(_CLAIM, values)
    return [_owed(row) for row in await cursor.fetchall()]


async def unknown(conn: Connection, exchange: str, sessions: Sequence[str]) -> list[OutboxRow]:
    """Rows claimed for these sessions and not marked sent: nobody saw whether they left."""
    cursor = await conn.execute(_UNKNOWN, (exchange, list(sessions)))
    return [_owed(row) for row in await cursor.fetchall()]


async def unanswered(conn: Connection, exchange: str, session: str, sent_before_ns: int) -> list[OutboxRow]:
    """Rows sent on a session before an instant, of which the exchange has said nothing."""
    cursor = await conn.execute(_UNANSWERED, (exchange, session, sent_before_ns))
    return [_owed(row) for row in await cursor.fetchall()]


async def mark_sent(
    conn: Connection, sent: Sequence[Sent], orders: dict[int, LockedOrder]
) -> list[AuditEntry]:
    """Mark rows sent, let their (locked) orders pass the gate; returns the record's entries."""
    times = [s.at_ns for s in sent]
    await conn.execute(_MARK, ([s.owed.seq for s in sent], times))
    new = [s for s in sent if s.owed.kind == "NEW"]
    await conn.execute(_PASS_GATE, ([s.owed.order_id for s in new], [s.at_ns for s in new]))
    return [_entry(s, orders[s.owed.order_id]) for s in sent if s.owed.order_id in orders]


async def answered(conn: Connection, cl_ord_ids: Sequence[str], now_ns: int) -> list[int]:
    """The exchange has said something about these requests; returns when each now answered was sent."""
    cursor = await conn.execute(_ANSWER, (now_ns, list(cl_ord_ids)))
    return [row["sent_at_ns"] for row in await cursor.fetchall() if row["sent_at_ns"] is not None]


async def send_again(conn: Connection, cl_ord_ids: Sequence[str]) -> None:
    """The exchange does not know these requests: they are owed anew, if nothing stops them now."""
    await conn.execute(_SEND_AGAIN, (list(cl_ord_ids),))


def _entry(sent: Sent, order: LockedOrder) -> AuditEntry:
    owed = sent.owed
    detail: dict[str, Any] = {"cl_ord_id": owed.cl_ord_id}
    if sent.repeated:
        detail["repeated"] = True
    if sent.asked:
        detail["asked"] = True
    return AuditEntry(
        occurred_at_ns=sent.at_ns,
        user_id=owed.user_id,
        event=_SENT_EVENTS[owed.kind],
        actor="gateway",
        order_id=owed.order_id,
        status=order.view.status,
        detail=detail,
        traceparent=owed.traceparent,
    )


def _owed(row: dict[str, Any]) -> OutboxRow:
    instruction = msgspec.convert(row["instruction"], _KINDS[row["kind"]], strict=False)
    return OutboxRow(**{**row, "instruction": instruction})
