"""Bring the database to the schema of this version: Alembic over plain SQL files, one run at a time.

Two runs at once are safe: the second waits for the first's advisory lock and finds nothing left to do.
Called by `hundi migrate` and `hundi up` before any process that reads the books.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, NullPool, create_engine

_ONE_AT_A_TIME = 7_240_051
"""Key of the advisory lock; a number that nothing else here uses."""


def owner_engine(dsn: str) -> Engine:
    """SQLAlchemy's engine on psycopg; each use opens a connection and closes it."""
    return create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)


def migrate(dsn: str, revision: str = "head") -> None:
    """Upgrade the database to the newest revision, or to the one named, as the role that owns its tables.

    Raises psycopg or SQLAlchemy errors when the server is away or a migration fails; a failed migration
    leaves nothing behind.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with owner_engine(dsn).connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ONE_AT_A_TIME})")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
