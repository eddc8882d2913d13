"""The Redis connection. Commands that touch money are in margin_book.py and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError


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


class Subscriber(PubSub):
    """A subscription that one task reads while others change it: `async with Subscriber(redis) as ...`.

    redis-py pings before it subscribes to the first channel, when nothing was heard for a while, and reads
    the answer itself: beside the reader, so that whoever subscribed got a RuntimeError. Reading is enough to
    know that a connection lives. A change that could not be sent ends the reading, so that the reader begins
    anew with all that is wanted. Only entering connects: of two who did at once, one would have subscribed
    where nobody reads.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis.connection_pool)
        self._change_was_lost = False

    async def __aenter__(self) -> "Subscriber":
        await self.connect()  # type: ignore[no-untyped-call]
        return self

    async def execute_command(self, *args: Any) -> None:
        connection: Any = self.connection
        try:
            if connection is None or not connection.is_connected:
                raise RedisConnectionError("the subscription's connection is lost")
            await self._execute(connection, connection.send_command, *args, check_health=False)  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            self._change_was_lost = True
            raise

    async def get_message(
        self,
        ignore_subscribe_messages: bool = False,
        timeout: float | None = 0.0,  # noqa: ASYNC109
    ) -> Any:
        """The next message, None after the timeout. Raises RedisError, also after a change that was lost."""
        if self._change_was_lost:
            raise RedisConnectionError("a change of the subscription was lost")
        return await super().get_message(ignore_subscribe_messages, timeout)


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
