"""What the database refuses to each role: the application adds to the record, and takes nothing away."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from config.settings import Settings

INDIA = ZoneInfo("Asia/Kolkata")
DAY_NS = 86_400 * 1_000_000_000
Connected = psycopg.Connection[tuple[Any, ...]]
JOURNALS = ("audit_log", "ledger_postings")


@pytest.fixture
def application(servers: Settings) -> Iterator[Connected]:
    with psycopg.connect(servers.postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(servers: Settings) -> Iterator[Connected]:
    with psycopg.connect(servers.postgres_owner_dsn, autocommit=True) as connection:
        yield connection


def todays_partition() -> str:
    return f"audit_log_{datetime.now(INDIA):%Y%m%d}"


def refused(connection: Connected, statement: str, words: str = "permission denied|must be owner") -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=words):
        connection.execute(statement.encode())


def entry(at_ns: int, table: str = "audit_log") -> str:
    return (
        f"INSERT INTO {table} (occurred_at_ns, user_id, event, detail, actor)"
        f" VALUES ({at_ns}, 1, 'TEST', '{{}}', 'test')"
    )


@pytest.mark.parametrize("url", ["postgresql://hundi_app@", "postgresql://hundi@", "postgresql://postgres@"])
@pytest.mark.parametrize("password", ["", "hundi", "postgres"])
def test_nobody_comes_in_without_the_password(servers: Settings, url: str, password: str) -> None:
    where = f"{url}{servers.host}:{servers.port('postgres')}/hundi"
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(where, password=password)


@pytest.mark.parametrize("table", [*JOURNALS, "audit_log_default"])
def test_the_application_takes_nothing_from_the_record_or_the_ledger(
    application: Connected, table: str
) -> None:
    for statement in (
        f"TRUNCATE {table}",
        f"DELETE FROM {table}",
        f"UPDATE {table} SET {'amount = 1' if table == 'ledger_postings' else 'user_id = 1'}",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN mine INT",
        f"CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    ):
        refused(application, statement)


def test_the_application_reaches_no_partition_and_no_privilege(application: Connected) -> None:
    today = todays_partition()
    for statement in (
        f"DROP TABLE {today}",
        f"ALTER TABLE audit_log DETACH PARTITION {today}",
        entry(time.time_ns(), today),
        f"SELECT FROM {today}",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/hundi-copied'",
        "SELECT pg_read_file('/etc/hostname')",
        "SET session_replication_role = replica",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "SET ROLE hundi",
        "ALTER FUNCTION refuse_change() RENAME TO allow_change",
        "SELECT guard_partition('audit_log'::regclass, true)",
    ):
        refused(application, statement, "permission denied|must be owner|cannot set")


def test_the_application_has_insert_and_select_alone_on_whatever_is_the_record(owner: Connected) -> None:
    """Asked of the catalogue, so that a partition or a journal of tomorrow is asked about as well."""
    rights = owner.execute(
        "SELECT c.relname, array_agg(DISTINCT a.privilege_type::text) FROM pg_class c, aclexplode(c.relacl) a"
        " WHERE a.grantee = 'hundi_app'::regrole AND (c.relname LIKE 'audit_log%' OR c.relname LIKE"
        " 'ledger_postings%') AND c.relkind IN ('r', 'p') GROUP BY 1"
    ).fetchall()
    assert {name: set(found) for name, found in rights} == {name: {"INSERT", "SELECT"} for name in JOURNALS}
    roles = owner.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'hundi%' AND (rolsuper OR rolcreaterole"
        " OR rolcreatedb OR rolreplication OR rolbypassrls)"
    ).fetchall()
    assert roles == []


@pytest.mark.parametrize("table", [*JOURNALS, "audit_log_default", "today"])
def test_not_even_the_owner_truncates_or_changes_the_record_in_passing(owner: Connected, table: str) -> None:
    name = todays_partition() if table == "today" else table
    owner.execute(entry(time.time_ns()).encode())
    refused(owner, f"TRUNCATE {name}", "append only")
    if table in {"today", "ledger_postings"}:
        refused(owner, f"DELETE FROM {name}", "append only")
        change = "amount = 1" if table == "ledger_postings" else "user_id = 1"
        refused(owner, f"UPDATE {name} SET {change}", "append only")


def test_a_day_that_is_over_is_closed_to_everybody(application: Connected, owner: Connected) -> None:
    now = time.time_ns()
    for days in (2, 3, 1000):
        refused(application, entry(now - days * DAY_NS), "audit_log is closed for the day of")
        refused(owner, entry(now - days * DAY_NS), "audit_log is closed for the day of")
    # What is heard shortly before midnight may be written after it, by a clock that is a little off.
    open_day = (datetime.now(INDIA) - timedelta(hours=6)).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = int(open_day.timestamp()) * 1_000_000_000
    refused(application, entry(begins - 1), "audit_log is closed for the day of")
    application.execute(entry(begins).encode())
    application.execute(entry(now).encode())
    application.execute(entry(now + DAY_NS).encode())


def test_the_application_makes_the_partitions_of_days_to_come_and_no_others(application: Connected) -> None:
    later = date.today() + timedelta(days=900)
    application.execute("SELECT ensure_day(%s)", (later,))
    application.execute("SELECT ensure_day(%s)", (later,))
    for statement in (f"TRUNCATE audit_log_{later:%Y%m%d}", f"DROP TABLE orders_{later:%Y%m%d}"):
        refused(application, statement)
    for day in (date.today() - timedelta(days=3), date(1970, 1, 1), date.today() + timedelta(days=5000)):
        refused(application, f"SELECT ensure_day('{day}')", "no partitions are made for")


def test_a_table_before_ours_in_the_path_does_not_take_part_in_the_owner_s_function(
    application: Connected,
) -> None:
    """The owner's function looks for names in our schema, whatever path the caller has set."""
    application.execute("SET search_path = pg_temp, public")
    later = date.today() + timedelta(days=901)
    application.execute("SELECT public.ensure_day(%s)", (later,))
    found = application.execute(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = %s",
        (f"orders_{later:%Y%m%d}",),
    ).fetchone()
    assert found == ("public",)
