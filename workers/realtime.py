"""The realtime gateway's process: sockets on one side, Redis on the other, no database.

Started by `hundi realtime`. SIGTERM closes every socket as a service restart: clients come back and resume.
"""

import asyncio
import signal
from functools import partial

import structlog
import uvloop

from bus.background import running
from bus.redis_client import open_redis
from config.settings import settings
from exchange.files.master import read_master
from realtime import gc_tuning
from realtime.app import Stream
from realtime.stream.gateway import Gateway
from realtime.websocket.connection import WebSocketConnection
from telemetry.process import telemetry
from workers.http_limits import http_limits
from workers.series_roll import end_at_next_roll
from workers.serving import serve

BACKLOG = 2048
STOP_SECONDS = 5
"""How long clients may take to go when the process stops."""

log = structlog.get_logger()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings().require("jwt_secret", "redis_url")
    end_at_next_roll()
    with telemetry(settings(), settings().realtime_id):
        uvloop.run(_serve())


async def _serve() -> None:
    ours = settings()
    async with open_redis(ours.redis_dsn) as redis:
        instruments = [i for exchange in ours.exchanges for i in read_master(exchange).values()]
        gateway = Gateway(ours, redis, instruments)
        stream = Stream(gateway, ours.trusted_proxies)
        async with running(_run(gateway, stream), "gateway") as parts:
            parts.add_done_callback(_fatal)
            await serve(
                stream,
                ours.host,
                ours.port("stream"),
                redis,
                ours.realtime_id,
                trusted_proxies=ours.trusted_proxies,
                limits=http_limits(ours),
                lifespan="off",
                backlog=BACKLOG,
                ws=partial(WebSocketConnection, stream.lines),
                timeout_graceful_shutdown=STOP_SECONDS,
            )


async def _run(gateway: Gateway, stream: Stream) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.run())
        tasks.create_task(stream.run())
        tasks.create_task(gc_tuning.tend(lambda: not gateway.clients))


def _fatal(parts: "asyncio.Task[None]") -> None:
    """A gateway whose parts died by a bug dies with them rather than limping on."""
    if not parts.cancelled() and parts.exception() is not None:
        log.critical("part_died", exc_info=parts.exception())
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
