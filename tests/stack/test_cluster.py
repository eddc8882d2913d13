"""A data directory of the version before credentials: closed to strangers, and nothing in it is lost."""

import subprocess
import time

import psycopg
import pytest

from cli.up import seed_now
from config.secrets import FILE, embedded_secrets
from config.settings import Settings
from stack import probes, servers
from stack.ordinary_user import as_ordinary_user, give
from stack.packages import postgres_bin
from storage.migrate import migrate
from tests.stack.test_up import hundi, stop, until_up


def make_as_before(settings: Settings) -> None:
    """One superuser `hundi`, who is believed without a password; schema and rows of that time."""
    settings.data_dir.chmod(0o755)
    data = settings.data_dir / "postgres"
    data.mkdir(mode=0o700)
    give(data)
    program = postgres_bin() / "initdb"
    command = [str(program), "-D", str(data), "-U", "hundi", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run(
        as_ordinary_user(command, [program, settings.data_dir]), check=True, capture_output=True, cwd="/"
    )
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samehost trust\n")
    serving = subprocess.Popen(
        servers.postgres_command(settings, settings.data_dir), stderr=subprocess.DEVNULL
    )
    try:
        while not probes.postgres_answers(settings):
            assert serving.poll() is None
            time.sleep(0.05)
        with psycopg.connect(settings.postgres_owner_dsn, dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE hundi")
        migrate(settings.postgres_owner_dsn, "0017")
        seed_now(settings)
    finally:
        serving.terminate()
        serving.wait(30)


def test_data_of_the_time_before_credentials_is_kept_and_closed(fresh_settings: Settings) -> None:
    make_as_before(fresh_settings)
    until_up(first := hundi(fresh_settings, "up", "--servers"))
    with psycopg.connect(fresh_settings.postgres_dsn) as connection:
        clients = connection.execute("SELECT count(*) FROM users WHERE client_id LIKE 'DEMO%'").fetchone()
        others = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND pg_get_userbyid(relowner) <> 'hundi'"
        ).fetchall()
        supers = connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin").fetchall()
    assert (clients, others, supers) == ((100,), [], [("postgres",)])
    for role in ("hundi", "hundi_bootstrap", "hundi_app", "postgres"):
        with pytest.raises(
            psycopg.OperationalError, match=r"password authentication failed|no pg_hba\.conf entry"
        ):
            psycopg.connect(fresh_settings.postgres_dsn, user=role, password="guessed")
    stop(first)

    # The secrets are lost: new ones are made, and the cluster is closed to them.
    (fresh_settings.data_dir / FILE).unlink()
    embedded_secrets.cache_clear()
    until_up(second := hundi(fresh_settings, "up", "--servers"))
    with psycopg.connect(fresh_settings.postgres_dsn) as connection:
        kept = connection.execute("SELECT count(*) FROM users WHERE client_id LIKE 'DEMO%'").fetchone()
    assert kept == (100,)
    stop(second)
