"""What a caller above storage hears of a server that is away, and of a value that it refuses."""

from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import PoolTimeout

from config.settings import Settings
from storage.database import REFUSED_VALUES, Connection, Database, StoreUnavailable, check, open_database
from storage.faults import StoreFault, fault_of
from tests.support.market import free_offset


async def end_backend(database: Database, conn: Connection) -> None:
    """Terminate the server's process of a connection, by another."""
    found = await (await conn.execute("SELECT pg_backend_pid() AS pid")).fetchone()
    assert found is not None
    async with database.reading() as other:
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", (found["pid"],))


@pytest_asyncio.fixture
async def own(servers: Settings) -> AsyncIterator[Database]:
    async with open_database(servers.postgres_dsn, size=1, application="test-database") as opened:
        yield opened


async def test_a_server_that_nobody_started_is_unavailable_and_says_why(servers: Settings) -> None:
    nowhere = Settings(data_dir=servers.data_dir, port_offset=free_offset()).postgres_dsn
    with pytest.raises(StoreUnavailable, match="refused") as raised:
        await check(nowhere, 2)
    assert fault_of(raised.value) is StoreFault.AWAY
    await check(servers.postgres_dsn, 2)


async def test_a_pool_without_a_free_connection_is_unavailable(own: Database) -> None:
    own._pool.timeout = 0.05
    async with own.reading():
        for opening in (own.reading(), own.transaction()):
            with pytest.raises(StoreUnavailable) as raised:
                async with opening:
                    pass
            assert isinstance(raised.value.__cause__, PoolTimeout)
            assert fault_of(raised.value) is StoreFault.SILENT
    await own.ping()


@pytest.mark.parametrize("then", ["fetch", "commit", "nothing"])
async def test_a_server_that_goes_away_in_a_transaction_is_unavailable(
    own: Database, database: Database, then: str
) -> None:
    undone = list[str]()

    async def undo() -> None:
        undone.append(then)

    with pytest.raises(StoreUnavailable) as raised:
        async with own.transaction() as conn:
            conn.after_rollback.append(undo)
            await end_backend(database, conn)
            if then == "fetch":
                await (await conn.execute("SELECT 1")).fetchall()
            elif then == "commit":
                await conn.execute("SELECT 1")
    assert isinstance(raised.value.__cause__, psycopg.OperationalError)
    assert fault_of(raised.value) is StoreFault.AWAY and undone == [then]


async def test_a_server_that_goes_away_while_reading_is_unavailable(
    own: Database, database: Database
) -> None:
    with pytest.raises(StoreUnavailable):
        async with own.reading() as conn:
            await end_backend(database, conn)
            await conn.execute("SELECT 1")


@pytest.mark.parametrize("at_commit", [False, True])
async def test_a_refused_value_is_no_absence(own: Database, at_commit: bool) -> None:
    """One by its statement, one by the trigger that is deferred to the commit."""
    amount = 5 if at_commit else 0
    with pytest.raises(REFUSED_VALUES) as raised:
        async with own.transaction() as conn:
            await conn.execute(
                "INSERT INTO ledger_postings (movement, account, amount, posted_at_ns) "
                "VALUES ('movement', 'account', %s, 0)",
                (amount,),
            )
    assert not isinstance(raised.value, StoreUnavailable) and fault_of(raised.value) is None


async def test_what_the_schema_and_the_role_do_not_have_is_told_apart(own: Database) -> None:
    for statement, fault in (
        ("SELECT colour FROM users", StoreFault.OTHER_SCHEMA),
        ("SELECT FROM colours", StoreFault.OTHER_SCHEMA),
        ("DELETE FROM audit_log", StoreFault.FORBIDDEN),
    ):
        with pytest.raises(psycopg.Error) as raised:
            async with own.reading() as conn:
                await conn.execute(statement.encode())
        assert fault_of(raised.value) is fault
