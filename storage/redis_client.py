"""The Redis connection. Commands that touch money are in margin_book.py and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _Connection(Connection):
    """redis-py's, but for how it sends.

    There asyncio.wait_for costs a task a command, and before Python 3.12 it may lose a cancellation
    (python/cpython#86296): a process that was told to stop went on for ever.
    """

    async def send_packed_command(
        self, command: str | bytes | Iterable[bytes], check_health: bool = True
    ) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        parts = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([parts] if isinstance(parts, bytes) else parts)
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"could not write to Redis: {error!r}") from error
        except BaseException:
            # Half a command may have gone out.
            await self.disconnect(nowait=True)
            raise


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[Redis]:
    """A client that reconnects by itself; answers are bytes."""
    pool = ConnectionPool.from_url(
        url, connection_class=_Connection, health_check_interval=15, socket_connect_timeout=5
    )
    client: Redis = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()
