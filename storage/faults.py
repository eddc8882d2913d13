"""What an error of the store means, for those who have to say it in a sentence."""

from enum import Enum, auto

from psycopg import OperationalError, errors
from psycopg_pool import PoolTimeout


class StoreFault(Enum):
    SILENT = auto()
    """No connection came up in time."""
    AWAY = auto()
    """The server refused or ended the connection; the error says why."""
    OTHER_SCHEMA = auto()
    """A table or column is missing: the schema is not this version's."""
    FORBIDDEN = auto()
    """The role may not do it."""


def fault_of(error: BaseException) -> StoreFault | None:
    """Classify an error of the driver, or of `storage.database`; None for any other."""
    if isinstance(error, PoolTimeout) or isinstance(error.__cause__, PoolTimeout):
        return StoreFault.SILENT
    if isinstance(error, OperationalError):
        return StoreFault.AWAY
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return StoreFault.OTHER_SCHEMA
    if isinstance(error, errors.InsufficientPrivilege):
        return StoreFault.FORBIDDEN
    return None
