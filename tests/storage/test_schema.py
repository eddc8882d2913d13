"""What PostgreSQL itself guards: the books stay true even if the code above them is wrong."""

from datetime import date
from uuid import uuid4

import psycopg
import pytest

from domain.time import order_id_floor
from storage.database import Connection, Database
from tests.storage.test_margin_book import open_account

USER = 970_001


@pytest.fixture(scope="module", autouse=True)
async def _account(database: Database) -> None:
    await open_account(database, USER, 1_000_00)


async def insert_order(conn: Connection, order_id: int, **columns: int) -> None:
    names = "".join(f", {name}" for name in columns)
    await conn.execute(
        f"""INSERT INTO orders (order_id, user_id, instrument_id, order_type, transaction_type, product,
                                validity, quantity, idempotency_key, created_at_ns, updated_at_ns{names})
            VALUES (%s, %s, 'NSE:TCS', 'MARKET', 'BUY', 'CNC', 'DAY', 10, %s, 0, 0{", %s" * len(columns)})
        """.encode(),
        (order_id, USER, uuid4(), *columns.values()),
    )


async def test_a_day_is_one_partition_and_making_it_twice_changes_nothing(database: Database) -> None:
    day = date(2031, 2, 14)
    async with database.transaction() as conn:
        for _ in range(2):
            await conn.execute("SELECT ensure_day(%s)", (day,))
        await insert_order(conn, order_id_floor(day) + 1)
        await insert_order(conn, order_id_floor(date(2031, 2, 16)) + 1)
        found = await conn.execute(
            "SELECT tableoid::regclass::text AS part FROM orders WHERE user_id = %s ORDER BY order_id",
            (USER,),
        )
        assert [row["part"] async for row in found] == ["orders_20310214", "orders_default"]


@pytest.mark.parametrize(
    "columns", [{"filled_value": -1}, {"filled_quantity": -1}, {"price": 0}, {"trigger_price": -5}]
)
async def test_an_order_cannot_hold_what_cannot_be(database: Database, columns: dict[str, int]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        async with database.transaction() as conn:
            await insert_order(conn, order_id_floor(date(2031, 3, 1)) + 1, **columns)


async def test_available_cash_is_derived_and_counts_losses_only(database: Database) -> None:
    async with database.transaction() as conn:
        for pnl, available in ((-100_00, 600_00), (250_00, 700_00)):
            changed = await conn.execute(
                """UPDATE margin_ledger SET blocked_margin = 10000, used_margin = 20000, realized_pnl = %s
                   WHERE user_id = %s RETURNING available_cash""",
                (pnl, USER),
            )
            row = await changed.fetchone()
            assert row is not None
            assert row["available_cash"] == available


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE margin_ledger SET blocked_margin = -1",
        "UPDATE margin_ledger SET used_margin = -1",
        "INSERT INTO holdings VALUES ({user}, 'NSE:TCS', 10, 0, 11, 100)",
        "INSERT INTO holdings VALUES ({user}, 'NSE:TCS', -1, 0, 0, 100)",
        "INSERT INTO positions (user_id, instrument_id, product) VALUES ({user}, 'NSE:TCS', 'CNC')",
        """INSERT INTO margin_holds VALUES ({user}, {user}, 'NSE:TCS', 'CNC', 'BUY', 1, 5, 0, 'RELEASED')""",
    ],
)
async def test_money_and_shares_are_never_negative_nor_promised_twice(
    database: Database, statement: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        async with database.transaction() as conn:
            await conn.execute(statement.format(user=USER).encode())


async def test_one_report_and_one_request_are_one_row(database: Database) -> None:
    report = """INSERT INTO exchange_inbox (exchange, report_id, session, msg_seq_num, report, received_at_ns)
                VALUES ('NSE', 'E-1', 'S', 1, '{}', 0)"""
    request = """INSERT INTO exchange_outbox (exchange, kind, cl_ord_id, order_id, user_id, intake_seq,
                                              instruction, created_at_ns)
                 VALUES ('NSE', 'NEW', '310214000000001', 1, 1, 1, '{}', 0)"""
    for statement in (report, request):
        async with database.transaction() as conn:
            await conn.execute(statement.encode())
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with database.transaction() as conn:
                await conn.execute(statement.encode())


async def test_movements_that_balance_are_kept_and_repeats_refused(database: Database) -> None:
    async def deposit() -> None:
        async with database.transaction() as conn:
            for account, amount in (("bank", -500), (f"cash:{USER}", 500)):
                await conn.execute(
                    """INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
                       VALUES (%s, %s, %s, 0)""",
                    ("deposit:schema-test", account, amount),
                )

    await deposit()
    with pytest.raises(psycopg.errors.UniqueViolation):
        await deposit()
