"""The metadata of every table, and the rule by which Alembic compares it with a database."""

from sqlalchemy.sql.schema import SchemaItem

from storage.tables import accounts, books, journals, margin, market, orders, record, risk
from storage.tables.base import Row

ROOMS = (accounts, books, journals, margin, market, orders, record, risk)
metadata = Row.metadata
_PARTITIONED = tuple(
    f"{name}_"
    for name, table in metadata.tables.items()
    if table.dialect_options["postgresql"]["partition_by"]
)


def is_compared(item: SchemaItem, name: str | None, kind: str, reflected: bool, _: SchemaItem | None) -> bool:
    """Leave out the partitions, which `ensure_day` makes, and Alembic's own table."""
    if kind != "table" or not reflected:
        return True
    return name != "alembic_version" and not (name or "").startswith(_PARTITIONED)
