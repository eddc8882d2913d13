"""One uvicorn server in a process of ours, with our limits: healthy once it listens, stopped by a signal.

SIGTERM and SIGINT let requests under way come to their end.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from redis.asyncio import Redis

from bus import background
from bus.health import reporting
from workers.http_limits import Connections, HttpLimits
from workers.http_protocol import LimitedProtocol

LOOK_SECONDS = 0.5
"""Between two looks for connections that have lasted too long."""


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again once it has stopped, and the process would die of it before it has
        taken its health back and told its last metrics."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def serve(
    app: Any,
    host: str,
    port: int,
    redis: Redis,
    process: str,
    *,
    trusted_proxies: Sequence[str] = (),
    limits: HttpLimits | None = None,
    **options: Any,
) -> None:
    """Serve until told to stop; `options` are uvicorn's. Only these proxies say whom they ask for."""
    known = Connections(limits or HttpLimits(), trusted_proxies)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast(Any, partial(LimitedProtocol, known)),
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        **{"ws": "none", **options},
    )
    server, bound = _Server(config), _bound(host, port)
    async with background.running(_look(server, known), "connections"):
        serving = asyncio.create_task(server.serve([bound]))
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            async with reporting(redis, process):
                await serving
        else:
            listening.cancel()
            await serving


async def _look(server: uvicorn.Server, known: Connections) -> None:
    """Until cancelled, also while the server stops: it waits for its connections."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = loop.time()
        for connection in tuple(server.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.look(now)
        known.report(now)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens here once the server does.

    Raises OSError when the port is taken: uvicorn, left to bind it, ends the process with a traceback.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
    return bound
