"""Orders as they stand when their workflow has submitted them: intake passed, outbox row waiting."""

import time
import uuid
from dataclasses import replace
from itertools import count

from psycopg.types.json import Jsonb

from domain.instructions import CancelOrder, NewOrder
from domain.orders import OrderType, Side, Validity
from storage.database import Connection, Database
from storage.journals import outbox_rows

_serial = count(time.time_ns() // 1000 % 400_000_000)


def an_order_id() -> int:
    """Of the last day of the century, where no test of the API goes."""
    return 991231_000_000_000 + next(_serial)


def a_new_order(order_id: int, **changes: object) -> NewOrder:
    """BUY 10 RELIANCE LIMIT 1.00: out of its band, so the exchange refuses it at once."""
    order = NewOrder(
        str(order_id),
        "DEMO0001",
        "RELIANCE",
        Side.BUY,
        10,
        OrderType.LIMIT,
        Validity.DAY,
        100,
        None,
        time.time_ns(),
    )
    return replace(order, **changes)  # type: ignore[arg-type]


async def new_users(database: Database, number: int) -> list[int]:
    """Users of one test alone, of both parities in turn: nobody else's orders stand before theirs."""
    async with database.transaction() as conn:
        cursor = await conn.execute("SELECT COALESCE(max(user_id), 0) + 1 AS next FROM users")
        row = await cursor.fetchone()
        assert row is not None
        first = max(1_000_000, row["next"] + row["next"] % 2)
        for user_id in range(first, first + number):
            await conn.execute(
                "INSERT INTO users (user_id, client_id, full_name, password_hash, role, created_at_ns)"
                " VALUES (%s, %s, 'Test', '', 'CLIENT', 1)",
                (user_id, f"TEST{user_id}"),
            )
            await conn.execute("INSERT INTO update_sequences (user_id) VALUES (%s)", (user_id,))
        return list(range(first, first + number))


async def acknowledge(conn: Connection, user_id: int, order: NewOrder, exchange: str = "NSE") -> int:
    """The order and its intake row; returns the intake's seq."""
    now = time.time_ns()
    await conn.execute(
        "INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product,"
        " validity, quantity, price, trigger_price, status, idempotency_key, owner, created_at_ns,"
        " updated_at_ns)"
        " VALUES (%s, %s, %s, %s, %s, 'CNC', %s, %s, %s, %s, 'PENDING_OPEN', %s, 'test', %s, %s)",
        (
            int(order.cl_ord_id),
            user_id,
            f"{exchange}:{order.symbol}",
            order.order_type,
            order.side,
            order.validity,
            order.quantity,
            order.price,
            order.trigger_price,
            uuid.uuid4(),
            now,
            now,
        ),
    )
    cursor = await conn.execute(
        "INSERT INTO order_intake (order_id, user_id, accepted_at_ns) VALUES (%s, %s, %s) RETURNING seq",
        (int(order.cl_ord_id), user_id, now),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["seq"])


async def owe(
    conn: Connection,
    user_id: int,
    intake_seq: int,
    instruction: NewOrder | CancelOrder,
    *,
    exchange: str = "NSE",
    release_phases: list[str] | None = None,
) -> None:
    """The outbox row."""
    await conn.execute(
        "INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq, instruction,"
        " release_phases, created_at_ns) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            exchange,
            "NEW" if isinstance(instruction, NewOrder) else "CANCEL",
            instruction.cl_ord_id,
            int(instruction.cl_ord_id.partition("-")[0]),
            user_id,
            intake_seq,
            Jsonb(outbox_rows.document(instruction)),
            release_phases,
            time.time_ns(),
        ),
    )


async def submit(
    database: Database, user_id: int, exchange: str = "NSE", phase: str | None = None, **changes: object
) -> int:
    """A whole order, acknowledged and owed to the exchange; returns its id."""
    order = a_new_order(an_order_id(), **changes)
    async with database.transaction() as conn:
        seq = await acknowledge(conn, user_id, order, exchange)
        await owe(conn, user_id, seq, order, exchange=exchange, release_phases=[phase] if phase else None)
    return int(order.cl_ord_id)
