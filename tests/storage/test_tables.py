"""The tables' classes and the migrations are one schema, in both directions.

Alembic compares the classes with the migrated database. What Alembic does not look at (CHECKs, the labels of
enums, conditions of indexes, generated columns, partitions' keys, storage parameters) is compared in
PostgreSQL's own catalogue, with a scratch schema that is made from the classes and rolled back.
"""

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from config.settings import Settings
from storage.migrate import owner_engine
from storage.tables.schema import is_compared, metadata

SCRATCH = "made_from_classes"
_TABLES = (
    "SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND NOT relispartition"
)
CATALOGUE = {
    "tables": """
        SELECT relname, relkind, reloptions, pg_get_partkeydef(oid), obj_description(oid, 'pg_class')
        FROM pg_class WHERE oid IN ({tables}) AND relkind IN ('r', 'p')
    """,
    "columns": """
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
               pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE attrelid IN ({tables}) AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
    """,
    # PostgreSQL numbers the CHECKs of a table in the order in which they are made: such a name says nothing.
    "constraints": """
        SELECT relname, contype, regexp_replace(conname, '_check\\d*$', ''),
               pg_get_constraintdef(con.oid, true)
        FROM pg_constraint con JOIN pg_class c ON c.oid = conrelid
        WHERE conrelid IN ({tables}) AND contype IN ('p', 'u', 'f', 'c')
    """,
    "indexes": """
        SELECT relname, pg_get_indexdef(indexrelid, 0, true), indisunique
        FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE indrelid IN ({tables})
    """,
    "enums": """
        SELECT typname, array_agg(enumlabel::text ORDER BY enumsortorder)
        FROM pg_enum JOIN pg_type t ON t.oid = enumtypid
        WHERE typnamespace = current_schema()::regnamespace GROUP BY typname
    """,
}
ALEMBIC_REPORTS = {
    "a column is missing": "ALTER TABLE orders DROP COLUMN tag",
    "a column too many": "ALTER TABLE orders ADD COLUMN colour TEXT",
    "a table is missing": "DROP TABLE candles",
    "a table too many": "CREATE TABLE colours (colour TEXT)",
    "another type": "ALTER TABLE trades ALTER COLUMN realized_pnl TYPE INT",
    "another length": "ALTER TABLE orders ALTER COLUMN tag TYPE VARCHAR(21)",
    "a column may be NULL": "ALTER TABLE margin_ledger ALTER COLUMN updated_at_ns DROP NOT NULL",
    "another default": "ALTER TABLE orders ALTER COLUMN filled_value SET DEFAULT 1",
    "an index is missing": "DROP INDEX orders_of_user",
    "an index too many": "CREATE INDEX orders_of_tag ON orders (tag)",
    "a unique pair is missing": "ALTER TABLE house_orders DROP CONSTRAINT house_orders_user_id_key_key",
    "a reference is missing": "ALTER TABLE positions DROP CONSTRAINT positions_user_id_fkey",
    "another comment": "COMMENT ON COLUMN orders.owner IS 'somebody'",
}
CATALOGUE_REPORTS = ALEMBIC_REPORTS | {
    "a CHECK is missing": "ALTER TABLE margin_ledger DROP CONSTRAINT margin_ledger_used_margin_check",
    "a CHECK too many": "ALTER TABLE margin_ledger ADD CHECK (cash > 0)",
    "another CHECK": """
        ALTER TABLE orders DROP CONSTRAINT orders_price_check,
            ADD CONSTRAINT orders_price_check CHECK (price >= 0)
    """,
    "another label": "ALTER TYPE side ADD VALUE 'SHORT'",
    "another condition": """
        DROP INDEX order_intake_turns; CREATE INDEX order_intake_turns ON order_intake (turn_ns, seq)
    """,
    "another expression": "ALTER TABLE margin_ledger ALTER COLUMN available_cash SET EXPRESSION AS (cash)",
    "another identity": "ALTER TABLE trades ALTER COLUMN place SET GENERATED ALWAYS",
    "another fill": "ALTER TABLE margin_ledger RESET (fillfactor)",
    "not partitioned": "DROP TABLE audit_log; CREATE TABLE audit_log (LIKE public.audit_log INCLUDING ALL)",
    "NULLs are distinct": """
        ALTER TABLE risk_limits DROP CONSTRAINT risk_limits_user_id_effective_from_key,
            ADD UNIQUE (user_id, effective_from)
    """,
}


@pytest.fixture
def connection(servers: Settings) -> Iterator[Connection]:
    """A transaction of the owner that is rolled back; the schema of the classes is in it."""
    engine = owner_engine(servers.postgres_owner_dsn)
    with engine.connect() as opened:
        opened.execute(text(f"CREATE SCHEMA {SCRATCH}"))
        _enter(opened, SCRATCH)
        metadata.create_all(opened, checkfirst=False)
        yield opened
        opened.rollback()


def _enter(connection: Connection, schema: str) -> None:
    connection.execute(text(f"SET LOCAL search_path = {schema}"))
    connection.dialect.default_schema_name = schema


def _catalogue(connection: Connection, schema: str) -> dict[str, list[str]]:
    _enter(connection, schema)
    tables = f"{_TABLES} AND relname !~ '^alembic_version'"
    return {
        part: sorted(str(tuple(row)) for row in connection.exec_driver_sql(query.format(tables=tables)))
        for part, query in CATALOGUE.items()
    }


def _differences(connection: Connection, schema: str) -> list[object]:
    _enter(connection, schema)
    compared = {"compare_type": True, "compare_server_default": True, "include_object": is_compared}
    return list(compare_metadata(MigrationContext.configure(connection, opts=compared), metadata))


def test_alembic_finds_nothing_to_migrate(servers: Settings) -> None:
    """What `alembic check` does; it raises where a migration is due."""
    config = Config(toml_file="pyproject.toml")
    with owner_engine(servers.postgres_owner_dsn).connect() as opened:
        config.attributes["connection"] = opened
        command.check(config)


def test_the_classes_make_the_schema_that_the_migrations_make(connection: Connection) -> None:
    migrated, made = _catalogue(connection, "public"), _catalogue(connection, SCRATCH)
    assert migrated.keys() == made.keys() == CATALOGUE.keys() and all(migrated.values())
    for part in CATALOGUE:
        assert made[part] == migrated[part]
    assert _differences(connection, SCRATCH) == []


@pytest.mark.parametrize("fault", ALEMBIC_REPORTS.values(), ids=ALEMBIC_REPORTS)
def test_alembics_comparison_is_not_blind(connection: Connection, fault: str) -> None:
    connection.execute(text(fault))
    assert _differences(connection, SCRATCH)


@pytest.mark.parametrize("fault", CATALOGUE_REPORTS.values(), ids=CATALOGUE_REPORTS)
def test_the_catalogues_comparison_is_not_blind(connection: Connection, fault: str) -> None:
    migrated = _catalogue(connection, "public")
    _enter(connection, SCRATCH)
    connection.exec_driver_sql(fault)
    assert _catalogue(connection, SCRATCH) != migrated
