"""How a peer is served: by the server of ours, on a port that the command line names."""

import sys

import uvloop
from fastapi import FastAPI

from bus.redis_client import open_redis
from config.settings import Settings
from workers.serving import serve


def serve_peer(app: FastAPI, ours: Settings, name: str) -> None:
    """Until SIGTERM or SIGINT."""
    uvloop.run(_serve(app, ours, name))


async def _serve(app: FastAPI, ours: Settings, name: str) -> None:
    async with open_redis(ours.redis_dsn) as redis:
        await serve(app, ours.host, int(sys.argv[1]), redis, name)
