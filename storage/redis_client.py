"""The Redis connection. Commands that touch money are in margin_book.py and nowhere else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[Redis]:
    """A client that reconnects by itself; answers are bytes."""
    client: Redis = Redis.from_url(url, health_check_interval=15, socket_connect_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()
