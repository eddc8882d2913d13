"""The listening socket of a FIX acceptor: QuickFIX listens on every address, whatever host it is told.

So it is told to take some other port for the moment of its start, and then its socket is replaced, under its
own number, by one of ours at the address that is wanted. Invariant: afterwards it listens there and nowhere
else.
"""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAITING_MAX = 64


def a_free_port() -> int:
    """Of the kernel's choice, for QuickFIX to start at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def listening_at(host: str, port: int) -> Iterator[None]:
    """What starts to listen inside the context, listens at this address alone when it is left.

    Raises SystemExit with one sentence: the address is taken, or something listens elsewhere all the same.
    """
    try:
        ours = socket.create_server((host, port), backlog=_WAITING_MAX)
    except OSError as error:
        raise SystemExit(f"hundi: {host}:{port} cannot be listened at ({error.strerror})") from None
    wanted = ours.getsockname()[:2]
    with ours:
        before = _listening().keys()
        yield
        opened = _listening().keys() - before
        for descriptor in opened:
            os.dup2(ours.fileno(), descriptor, inheritable=False)
    bound = {address for descriptor, address in _listening().items() if descriptor in opened}
    if bound != {wanted}:
        raise SystemExit(
            f"hundi: FIX belongs at {host}:{port} alone and is listened for at {bound or 'none'}"
        )


def _listening() -> dict[int, tuple[str, int]]:
    """By descriptor: the addresses at which this process takes connections now."""
    found = {}
    for name in (file.name for file in Path("/dev/fd").iterdir()):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family == socket.AF_INET and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found[int(name)] = copy.getsockname()[:2]
        except OSError:
            continue  # Closed since it was listed.
    return found
