"""Alembic's environment: migrations, and `alembic check` of the tables' classes against a database.

`storage/migrate.py` hands over its own connection; a command of Alembic itself opens one as the owner of the
tables.
"""

from alembic import context
from sqlalchemy import Connection

from config.settings import settings
from storage.migrate import owner_engine
from storage.tables.schema import is_compared, metadata


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        transactional_ddl=True,
        target_metadata=metadata,
        include_object=is_compared,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    _run(handed_over)
else:
    with owner_engine(settings().postgres_owner_dsn).connect() as opened:
        _run(opened)
