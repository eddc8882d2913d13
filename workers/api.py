"""The API's process: uvicorn over api/app.py, healthy once it serves."""

import asyncio
import socket

import uvicorn
import uvloop

from api.app import create_app
from config.settings import settings
from storage.redis_client import open_redis
from telemetry.process import telemetry
from workers.health import reporting

KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first."""
    with telemetry(settings(), "api"):
        uvloop.run(_serve())


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


async def _serve() -> None:
    ours = settings()
    server = _Server(
        uvicorn.Config(
            create_app(ours),
            host=ours.host,
            port=ours.port("api"),
            http="httptools",
            access_log=False,
            log_level="warning",
            # Longer than clients and proxies keep a connection, so that they close it and not we.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve())
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if listening.done():
        async with open_redis(ours.redis_dsn) as redis, reporting(redis, "api"):
            await serving
    else:
        listening.cancel()
        await serving
