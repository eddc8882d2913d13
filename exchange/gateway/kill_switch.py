"""The kill switch at the exchange gate: asked between sends, and what it stops is taken out of the outbox.

Nothing is remembered here: each question goes to the rows that the risk desk commits, so a freeze is
effective with its commit and a database that does not answer lets nothing leave. Called by the sender.
"""

from collections.abc import Collection, Sequence

import structlog
from redis.asyncio import Redis

from bus import order_updates, wakeups
from storage.database import Database
from storage.journals import frozen_outbox
from storage.journals.outbox import OutboxRow

log = structlog.get_logger()


class Brake:
    """Of one exchange."""

    def __init__(self, exchange: str, database: Database, redis: Redis) -> None:
        self._exchange, self._database, self._redis = exchange, database, redis

    async def stopped(self, owed: Sequence[OutboxRow]) -> set[int]:
        """The rows among these that may not leave any more, by seq."""
        async with self._database.reading() as conn:
            return await frozen_outbox.among(conn, [o.seq for o in owed])

    async def put_back(self, seqs: Collection[int]) -> None:
        """They were claimed and not handed to a session."""
        async with self._database.transaction() as conn:
            await frozen_outbox.put_back(conn, list(seqs))

    async def withdraw(self) -> None:
        """Cancel what waits and is stopped; its workflows give the margin back."""
        while True:
            async with self._database.transaction() as conn:
                told = await frozen_outbox.withdraw(conn, self._exchange)
            if not told:
                return
            log.info("orders_withdrawn_by_freeze", exchange=self._exchange, orders=len(told))
            await order_updates.publish(self._redis, told)
            await wakeups.wake(self._redis, wakeups.WITHDRAWN)
