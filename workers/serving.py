"""One uvicorn server in a process of ours: healthy once it listens, stopped by SIGTERM or SIGINT."""

import asyncio
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from redis.asyncio import Redis

from workers.health import reporting

KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep an idle connection, so that they close it and not we."""


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
    **options: Any,
) -> None:
    """Serve until told to stop; `options` are uvicorn's. Only these proxies say whom they ask for."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        **options,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([_bound(host, port)]))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if listening.done():
        async with reporting(redis, process):
            await serving
    else:
        listening.cancel()
        await serving


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
