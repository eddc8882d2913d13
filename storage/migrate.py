"""Bring the database to the schema of this version: Alembic over plain SQL files, one run at a time.

Two runs at once are safe: the second waits for the first's advisory lock and finds nothing left to do.
Called by `hundi migrate` and `hundi up` before any process that reads the books.
"""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import NullPool, create_engine

_ONE_AT_A_TIME = 7_240_051
"""Key of the advisory lock; any number that nothing else here uses."""


def migrate(dsn: str, *, create_database: bool) -> None:
    """Upgrade the database to the newest revision; `create_database` makes it first (embedded servers).

    Raises psycopg or SQLAlchemy errors when the server is away or a migration fails; a failed migration
    leaves nothing behind.
    """
    if create_database:
        _create_database(dsn)
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ONE_AT_A_TIME})")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _create_database(dsn: str) -> None:
    name = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
