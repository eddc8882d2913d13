"""Instructions as they enter the outbox, in the transaction that decides on them.

Whoever promises margin to an order, changes or cancels it owes the exchange the word for it; from here on it
is the gateway's (storage/journals/outbox.py). Called by the submit, the change and the cancel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder
from domain.orders import PlacedOrder
from domain.reports import MarketPhase
from storage.database import Connection, columns

_OWE = """
    INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq, instruction,
                                 release_phases, traceparent, created_at_ns, enlarges)
    SELECT exchange, kind::instruction_kind, cl_ord_id, order_id, user_id, intake_seq, instruction,
           string_to_array(phases, ','), traceparent, at, enlarges
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::jsonb[],
                %s::text[], %s::text[], %s::bigint[], %s::bool[]) WITH ORDINALITY
        AS o (exchange, kind, cl_ord_id, order_id, user_id, intake_seq, instruction, phases, traceparent, at,
              enlarges, place)
    ORDER BY place
"""


def document(instruction: Instruction) -> dict[str, Any]:
    """The JSON form in `exchange_outbox.instruction`."""
    built: dict[str, Any] = msgspec.to_builtins(instruction)
    return built


@dataclass(frozen=True, slots=True)
class NewOutboxRow:
    """What shall be said about an order; armed when there are release phases."""

    placed: PlacedOrder
    kind: str
    """NEW, CANCEL, REPLACE."""
    instruction: NewOrder | CancelOrder | ReplaceOrder
    release_phases: Sequence[MarketPhase] = ()
    enlarges: bool = True
    """Of a REPLACE: it does more than take away, so a freeze stops it."""


async def enqueue(conn: Connection, owing: Iterable[NewOutboxRow], now_ns: int) -> None:
    """Owe instructions to their exchanges."""
    rows = [
        (
            o.placed.terms.exchange,
            o.kind,
            o.instruction.cl_ord_id,
            o.placed.order_id,
            o.placed.user_id,
            o.placed.intake_seq,
            Jsonb(document(o.instruction)),
            ",".join(o.release_phases) or None,
            o.placed.traceparent,
            now_ns,
            o.enlarges,
        )
        for o in owing
    ]
    await conn.execute(_OWE, columns(rows))
