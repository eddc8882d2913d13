"""The realtime gateway's process: sockets on one side, Redis on the other, no database.

Started by `hundi realtime`. SIGTERM closes every socket as a service restart: clients come back and resume.
"""

import asyncio
from contextlib import suppress

import uvloop

from config.settings import settings
from exchange.master import read_master
from realtime.app import create_app
from realtime.gateway import Gateway
from realtime.line import Line
from realtime.socket_io import MESSAGE_BYTES_MAX
from storage.redis_client import open_redis
from telemetry.process import telemetry
from workers.serving import serve

BACKLOG = 2048
STOP_SECONDS = 5
"""How long clients may take to go when the process stops."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    with telemetry(settings(), "realtime"):
        uvloop.run(_serve())


async def _serve() -> None:
    ours = settings()
    async with open_redis(ours.redis_dsn) as redis:
        instruments = [i for exchange in ours.exchanges for i in read_master(exchange).values()]
        gateway = Gateway(ours, redis, instruments)
        running = asyncio.create_task(gateway.run(), name="gateway")
        try:
            await serve(
                create_app(gateway),
                ours.host,
                ours.port("stream"),
                redis,
                "realtime",
                lifespan="off",
                backlog=BACKLOG,
                ws=Line,
                ws_max_size=MESSAGE_BYTES_MAX,
                # A frame is built once and shared by many: no connection may have its own compression.
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


if __name__ == "__main__":
    main()
