"""The API's process: uvicorn over api/app.py, healthy once it serves."""

import uvloop

from api.app import create_app
from bus.redis_client import open_redis
from config.settings import settings
from telemetry.process import telemetry
from workers.http_limits import http_limits
from workers.series_roll import end_at_next_roll
from workers.serving import serve


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first."""
    settings().require("jwt_secret", "postgres_url", "redis_url", "temporal_address")
    end_at_next_roll()
    with telemetry(settings(), "api"):
        uvloop.run(_serve())


async def _serve() -> None:
    ours = settings()
    async with open_redis(ours.redis_dsn) as redis:
        address = ours.host, ours.port("api")
        proxies, limits = ours.trusted_proxies, http_limits(ours)
        await serve(create_app(ours), *address, redis, "api", trusted_proxies=proxies, limits=limits)
