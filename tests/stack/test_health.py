"""A process that reports is known by its pid; one that leaves, hangs or dies is soon unknown."""

import os

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from bus.health import EXPIRES_SECONDS, read_all, reporting
from config.settings import Settings
from stack.probes import reports_health
from tests.support.eventually import eventually


async def test_a_process_is_healthy_while_it_reports(redis: Redis, servers: Settings) -> None:
    async with reporting(redis, "a-process"):
        await eventually(lambda: reports_health(servers, "a-process", os.getpid()))
        assert not reports_health(servers, "a-process", os.getpid() + 1)
        assert 0 < await redis.ttl("health:a-process") <= EXPIRES_SECONDS
        with BlockingRedis.from_url(servers.redis_dsn) as blocking:
            assert read_all(blocking)["a-process"].ready
    assert not reports_health(servers, "a-process", os.getpid())
