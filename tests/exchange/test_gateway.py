"""The gateway between real journals and real exchange processes."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from config.settings import Settings
from domain.instructions import CancelOrder
from domain.orders import OrderType, Side
from storage.database import Database
from tests.support.edge import Edge, edge
from tests.support.eventually import eventually
from tests.support.orders import new_users, owe, submit

SESSIONS = ["FIXT.1.1:HUNDI01->NSE", "FIX.4.2:HUNDI02->NSE"]
"""By the parity of a user's id."""


@pytest.fixture(scope="module")
def exchanges(servers: Settings) -> Iterator[Edge]:
    with edge(servers) as opened:
        opened.start_gateway()
        yield opened


async def rows(database: Database, query: str, *values: object) -> list[dict[str, object]]:
    async with database.reading() as conn:
        cursor = await conn.execute(query, values)
        return await cursor.fetchall()


async def status(database: Database, order_id: int) -> object:
    return (await rows(database, "SELECT status FROM orders WHERE order_id = %s", order_id))[0]["status"]


async def history(database: Database, order_id: int) -> list[object]:
    found = await rows(
        database, "SELECT event FROM audit_log WHERE order_id = %s ORDER BY user_seq", order_id
    )
    return [row["event"] for row in found]


@pytest.mark.parametrize("exchange", ["NSE", "BSE"])
@pytest.mark.parametrize("session", [0, 1])
async def test_a_market_order_is_sent_and_its_fills_stand_in_the_order(
    exchanges: Edge, database: Database, exchange: str, session: int
) -> None:
    user = (await new_users(database, 2))[session]
    order_id = await submit(database, user, exchange, order_type=OrderType.MARKET, price=None, quantity=5)

    async def executed() -> bool:
        return await status(database, order_id) == "EXECUTED"

    await eventually(executed)
    order = (await rows(database, "SELECT * FROM orders WHERE order_id = %s", order_id))[0]
    assert order["filled_quantity"] == 5
    events = await history(database, order_id)
    assert events[0] == "SENT" and events[-1] == "FILL"
    mine = [t for t in exchanges.trades(exchange) if str(order_id) in t.values()]
    assert mine, exchanges.trades(exchange)[-1:]
    unanswered = "SELECT * FROM exchange_outbox WHERE order_id = %s AND answered_at_ns IS NULL"
    assert await rows(database, unanswered, order_id) == []


async def test_a_resting_order_is_cancelled_by_a_later_instruction(
    exchanges: Edge, database: Database
) -> None:
    user = (await new_users(database, 1))[0]
    band = (await rows(database, "SELECT * FROM instruments WHERE instrument_id = 'NSE:RELIANCE'"))[0]
    price = -(-int(str(band["lower_band"])) // int(str(band["tick_size"]))) * int(str(band["tick_size"]))
    order_id = await submit(database, user, price=price)

    async def is_open() -> bool:
        return await status(database, order_id) == "OPEN"

    await eventually(is_open)
    async with database.transaction() as conn:
        cancel = CancelOrder(f"{order_id}-1", str(order_id), "RELIANCE", Side.BUY, 10, 1)
        await owe(conn, user, 1, cancel)

    async def cancelled() -> bool:
        return await status(database, order_id) == "CANCELLED"

    await eventually(cancelled)
    assert await history(database, order_id) == ["SENT", "ACKNOWLEDGED", "CANCEL_SENT", "CANCELLED"]


async def test_on_record_no_order_of_a_burst_is_answered_before_it_was_sent(
    exchanges: Edge, database: Database
) -> None:
    users = await new_users(database, 30)
    order_ids = [
        await submit(database, user, order_type=OrderType.MARKET, price=None, quantity=1)
        for user in users
        for _ in range(10)
    ]

    async def all_are_executed() -> bool:
        return {await status(database, order_id) for order_id in order_ids} == {"EXECUTED"}

    await eventually(all_are_executed, within=30)
    query = """
        SELECT order_id, array_agg(event ORDER BY user_seq) AS events,
            array_agg(occurred_at_ns ORDER BY user_seq) AS stamps
        FROM audit_log WHERE order_id = ANY(%s) GROUP BY order_id
    """
    records = await rows(database, query, order_ids)
    assert len(records) == len(order_ids)
    for record in records:
        assert record["stamps"] == sorted(record["stamps"]), record  # type: ignore[call-overload]


async def test_a_refusal_of_the_exchange_carries_its_reason(exchanges: Edge, database: Database) -> None:
    user = (await new_users(database, 1))[0]
    order_id = await submit(database, user, symbol="NOSUCH")

    async def rejected() -> bool:
        return await status(database, order_id) == "REJECTED"

    await eventually(rejected)
    order = (await rows(database, "SELECT * FROM orders WHERE order_id = %s", order_id))[0]
    assert order["reject_code"] == "EXCHANGE_UNKNOWN_SYMBOL"
    assert "NOSUCH" in str(order["reject_reason"])


async def test_the_phase_of_each_segment_is_the_exchange_s_word(exchanges: Edge, database: Database) -> None:
    async def told() -> bool:
        phases = await rows(
            database,
            "SELECT exchange, phase FROM market_phases WHERE segment = 'CASH' AND exchange IN ('NSE', 'BSE')",
        )
        return {(p["exchange"], p["phase"]) for p in phases} == {("NSE", "CONTINUOUS"), ("BSE", "CONTINUOUS")}

    await eventually(told)


async def test_an_armed_order_waits_for_its_phase(exchanges: Edge, database: Database) -> None:
    first, third = await new_users(database, 2)
    armed = await submit(database, first, phase="CLOSED")
    released = await submit(database, third, phase="CONTINUOUS")

    async def rejected() -> bool:
        return await status(database, released) == "REJECTED"

    await eventually(rejected)
    waiting = await rows(database, "SELECT claimed_at_ns FROM exchange_outbox WHERE order_id = %s", armed)
    async with database.transaction() as conn:
        await conn.execute("UPDATE exchange_outbox SET withdrawn_at_ns = 1 WHERE order_id = %s", (armed,))
        await conn.execute("UPDATE order_intake SET gate_passed_at_ns = 1 WHERE order_id = %s", (armed,))
    assert waiting == [{"claimed_at_ns": None}]


async def test_an_update_reaches_the_user_s_channel_at_once(
    exchanges: Edge, database: Database, redis: Redis
) -> None:
    user = (await new_users(database, 2))[1]
    async with redis.pubsub() as channel:
        await channel.subscribe(f"updates:{user}")
        order_id = await submit(database, user, symbol="NOSUCH")

        async def heard() -> bool:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=0.2)
            return bool(message) and str(order_id).encode() in message["data"]

        await eventually(heard)


async def test_an_order_that_the_exchange_never_got_is_asked_about_and_sent_again(
    exchanges: Edge, database: Database
) -> None:
    """Marked sent by a gateway whose message was lost: known by the silence, proved by a status request."""
    exchanges.kill_gateway()
    order_ids = []
    for user, session in zip(await new_users(database, 2), SESSIONS, strict=True):
        order_id = await submit(database, user, order_type=OrderType.MARKET, price=None, quantity=2)
        async with database.transaction() as conn:
            await conn.execute(
                "UPDATE exchange_outbox SET claimed_at_ns = 1, sent_at_ns = 1, sends = 1, session = %s"
                " WHERE order_id = %s",
                (session, order_id),
            )
            await conn.execute(
                "UPDATE order_intake SET gate_passed_at_ns = 1 WHERE order_id = %s", (order_id,)
            )
        order_ids.append(order_id)
    exchanges.start_gateway()

    async def executed() -> bool:
        return [await status(database, order_id) for order_id in order_ids] == ["EXECUTED"] * 2

    await eventually(executed, within=15)
    outbox = await rows(database, "SELECT sends FROM exchange_outbox WHERE order_id = ANY(%s)", order_ids)
    assert outbox == [{"sends": 2}] * 2


async def test_while_the_exchange_is_away_orders_wait_and_leave_when_it_is_back(
    exchanges: Edge, database: Database
) -> None:
    users = await new_users(database, 2)
    exchanges.stop_exchange("NSE")
    order_ids = [await submit(database, user) for user in users for _ in range(3)]
    exchanges.start_exchange("NSE")

    async def all_answered() -> bool:
        return [await status(database, order_id) for order_id in order_ids] == ["REJECTED"] * 6

    await eventually(all_answered, within=20)
    query = "SELECT order_id FROM exchange_inbox WHERE order_id = ANY(%s) ORDER BY order_id"
    assert [row["order_id"] for row in await rows(database, query, order_ids)] == order_ids
