"""What goes wrong on the command line, as one sentence on stderr.

Exit code 2: it was asked for wrongly. Exit code 1: it was asked for rightly and could not be done.
A traceback is a bug of ours, and stays one.
"""

import errno
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import urlsplit

from config.settings import settings
from stack.errors import StackError

USAGE, FAILED = 2, 1
MIGRATE_FIRST = "the database's schema is not this version's: run `hundi migrate`"


@contextmanager
def one_sentence() -> Iterator[None]:
    """Leave by SystemExit with one sentence when what is done inside cannot be done."""
    # The driver and its pool warn of each attempt; the sentence says it once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        leave(said)


def leave(said: str, code: int = FAILED) -> NoReturn:
    """End the process with a sentence."""
    print(f"hundi: {said}", file=sys.stderr)
    raise SystemExit(code)


def sentence(error: BaseException) -> str | None:
    """Why it could not be done; None for what nobody foresaw."""
    if isinstance(error, BaseExceptionGroup):
        return next((said for inner in error.exceptions if (said := sentence(inner))), None)
    if isinstance(error, StackError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
        return _of_the_system(error)
    return _of_a_server(error)


def _of_the_system(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"a port that this process wants is in use ({_first_line(error)}): `hundi status` tells whether "
            "it runs already, HUNDI_PORT_OFFSET moves all ports"
        )
    return _first_line(error)


def _of_a_server(error: BaseException) -> str | None:
    # Not at the top: a process that starts pays for each of them.
    import httpx
    from redis.exceptions import RedisError
    from temporalio.service import RPCError

    from storage.faults import StoreFault, fault_of

    # SQLAlchemy, which migrations go through, wraps the driver's own error.
    error = getattr(error, "orig", None) or error
    fault = fault_of(error)
    if fault is StoreFault.SILENT:
        return f"PostgreSQL does not answer at {place(settings().postgres_dsn)}"
    if fault is StoreFault.AWAY:
        return f"PostgreSQL does not answer: {_first_line(error)}"
    if fault is StoreFault.OTHER_SCHEMA:
        return MIGRATE_FIRST
    if fault is StoreFault.FORBIDDEN:
        return f"the database's role may not do this: {_first_line(error)}"
    if isinstance(error, RedisError):
        return f"Redis does not answer at {place(settings().redis_dsn)}: {_first_line(error)}"
    if isinstance(error, RPCError):
        return f"Temporal does not answer: {_first_line(error)}"
    if isinstance(error, RuntimeError) and "Failed client connect" in str(error):
        return f"Temporal does not answer: {_first_line(error)}"
    if isinstance(error, httpx.HTTPStatusError):
        asked, answer = f"{error.request.method} {error.request.url.path}", error.response
        return f"the market answered {answer.status_code} to {asked}: {answer.text[:200]}"
    if isinstance(error, httpx.TransportError):
        return f"the market does not answer at {error.request.url.netloc.decode()}: {error}"
    return None


def place(url: str) -> str:
    """Host and port of a server's URL, without whatever else it carries, a password for one."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
