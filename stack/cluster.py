"""The PostgreSQL cluster of a data directory: made, closed to whoever has no password, given its roles.

Three roles log in, each with a generated password (SCRAM): `postgres` makes the other two when the servers
start and does nothing else, `hundi` owns the tables and migrates them, `hundi_app` is everybody else. A
cluster of an older version, which trusted everybody and knew one superuser, is closed before it is served.
Called by `stack/servers.py` and by whoever starts the servers.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from config.secrets import EmbeddedSecrets, embedded_secrets
from config.settings import Settings
from stack.errors import StackError
from stack.ordinary_user import as_ordinary_user, give
from stack.packages import postgres_bin

_RULES = """\
# Made by hundi {credentials}: over loopback, each role with its own password, to its own database.
host hundi hundi_app,hundi 127.0.0.0/8 scram-sha-256
host hundi hundi_app,hundi ::1/128 scram-sha-256
host all postgres 127.0.0.0/8 scram-sha-256
host all postgres ::1/128 scram-sha-256
"""
# In a cluster of an older version `hundi` is the one superuser that can be neither dropped nor made ordinary.
_SET_ASIDE = """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hundi' AND oid = 10) THEN
            ALTER ROLE hundi RENAME TO hundi_bootstrap;
            ALTER ROLE hundi_bootstrap NOLOGIN PASSWORD NULL;
        END IF;
    END $$
"""
_OWN_ALL = """
    DO $$ DECLARE it RECORD; BEGIN
        FOR it IN
            SELECT 'TABLE' AS kind, oid::regclass::text AS name FROM pg_class c
            WHERE relnamespace = 'public'::regnamespace AND relowner = 10 AND relkind IN ('r', 'p', 'v', 'S')
                AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i')
                                AND c.relkind = 'S')
            UNION ALL SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND proowner = 10
            UNION ALL SELECT 'TYPE', oid::regtype::text FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typowner = 10 AND typtype = 'e'
        LOOP
            EXECUTE format('ALTER %s %s OWNER TO hundi', it.kind, it.name);
        END LOOP;
    END $$
"""


def prepare(directory: Path) -> None:
    """Make the cluster, or close one that is not closed to these credentials; otherwise changes nothing."""
    cluster, ours = directory / "postgres", embedded_secrets(directory)
    if not (cluster / "PG_VERSION").exists():
        _init(directory, ours)
    elif (cluster / "pg_hba.conf").read_text() != _rules(ours):
        _close(cluster, ours)


def superuser_dsn(settings: Settings) -> str:
    """For making roles, and for tests and benchmarks that put back what nobody else may touch."""
    password = settings.secrets.postgres_superuser
    return f"postgresql://postgres:{password}@{settings.host}:{settings.port('postgres')}/hundi"


def make_roles(settings: Settings) -> None:
    """On the running server: the roles of owner and application, their passwords, the database."""
    ours, where = settings.secrets, superuser_dsn(settings)
    with psycopg.connect(where, dbname="postgres") as connection:
        connection.execute(_SET_ASIDE)
        for role, password in (("hundi", ours.postgres_owner), ("hundi_app", ours.postgres_application)):
            _make_role(connection, role, password)
        connection.commit()
        connection.autocommit = True
        if connection.execute("SELECT FROM pg_database WHERE datname = 'hundi'").rowcount == 0:
            connection.execute("CREATE DATABASE hundi OWNER hundi")
        connection.execute("ALTER DATABASE hundi OWNER TO hundi")
        connection.execute("REVOKE ALL ON DATABASE hundi FROM PUBLIC")
        connection.execute("GRANT CONNECT ON DATABASE hundi TO hundi_app")
    with psycopg.connect(where) as connection:
        connection.execute(_OWN_ALL)


def _make_role(connection: "psycopg.Connection[tuple[object, ...]]", role: str, password: str) -> None:
    """The server is told a verifier, so the password is in none of its logs."""
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount == 0:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
        ).format(sql.Identifier(role), sql.Literal(verifier.decode()))
    )


def _init(directory: Path, ours: EmbeddedSecrets) -> None:
    """A new cluster, complete or not there at all: made beside its place and moved into it."""
    unfinished, password = directory / "postgres.unfinished", directory / "postgres.password"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    give(unfinished)
    _write(password, ours.postgres_superuser)
    try:
        _run(
            directory,
            [
                *("initdb", "-D", str(unfinished), "-U", "postgres", "--pwfile", str(password)),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
            ],
        )
    finally:
        password.unlink()
    _write(unfinished / "pg_hba.conf", _rules(ours))
    unfinished.rename(directory / "postgres")


def _close(cluster: Path, ours: EmbeddedSecrets) -> None:
    """Give `postgres` its password without serving anybody, then ask everybody for one.

    The rules are written last: after a kill it is done again.
    """
    quiet = ("-c", "exit_on_error=true", "-c", "log_min_error_statement=panic")
    statements = (
        "DO $$ BEGIN IF to_regrole('postgres') IS NULL THEN CREATE ROLE postgres; END IF; END $$",
        f"ALTER ROLE postgres SUPERUSER LOGIN PASSWORD '{ours.postgres_superuser}'",
    )
    _run(cluster.parent, ["postgres", "--single", "-D", str(cluster), *quiet, "postgres"], *statements)
    _write(cluster / "pg_hba.conf", _rules(ours))


def _rules(ours: EmbeddedSecrets) -> str:
    """With a print of the password that is set: secrets made anew are set anew."""
    return _RULES.format(credentials=hashlib.sha256(ours.postgres_superuser.encode()).hexdigest()[:16])


def _run(directory: Path, command: list[str], *statements: str) -> None:
    program = postgres_bin() / command[0]
    made = subprocess.run(
        as_ordinary_user([str(program), *command[1:]], [program, directory]),
        input="".join(f"{statement}\n" for statement in statements),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if made.returncode != 0:
        last = (made.stderr.strip() or made.stdout.strip() or "no output").splitlines()[-1]
        raise StackError(f"PostgreSQL's data directory could not be made in {directory}: {last}")


def _write(file: Path, text: str) -> None:
    """Beside its place and moved into it; the ordinary user's alone."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(descriptor)
    give(unfinished)
    unfinished.rename(file)
