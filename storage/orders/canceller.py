"""Cancels and their announcements: the gateway is woken, the clients' streams and the workflows are told.

A process has one and asks it for the client or for the house; the answer needs no workflow, and no Temporal.
Called by the API, the wind-down and, for stories that began before, the order workflow's own cancel step.
"""

from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates, wakeups
from domain.orders import PlacedOrder
from storage.database import Database
from storage.margin.view import MarginView, ReleaseStep
from storage.orders import cancellations
from storage.orders.cancellations import Cancellation, CancelledBy

CANCELS_AT_ONCE = 200
"""In one transaction: a whole desk's cancel holds no client's stream for long."""


class OrderCanceller:
    def __init__(self, database: Database, redis: Redis) -> None:
        self._database, self._redis = database, redis
        self._view = MarginView(redis, database)

    async def cancel(self, order_ids: Sequence[int], by: CancelledBy) -> dict[int, Cancellation]:
        """What became of each; an unknown order is left out. Of a few orders it is all or nothing."""
        outcomes: dict[int, Cancellation] = {}
        for start in range(0, len(order_ids), CANCELS_AT_ONCE):
            outcomes |= await self._cancel(order_ids[start : start + CANCELS_AT_ONCE], by)
        return outcomes

    async def _cancel(self, order_ids: Sequence[int], by: CancelledBy) -> dict[int, Cancellation]:
        async with self._database.transaction() as conn:
            done = await cancellations.cancel(conn, order_ids, by)
        channels = [wakeups.outbox(exchange) for exchange in done.exchanges]
        if done.withdrawn:
            channels.append(wakeups.WITHDRAWN)
        if channels:
            await wakeups.wake(self._redis, *channels)
        # What the client hears is gone he may spend at once.
        await self._release(done.unsubmitted)
        await order_updates.publish(self._redis, done.updates)
        return done.outcomes

    async def _release(self, unsubmitted: Sequence[PlacedOrder]) -> None:
        """A story that blocks for the order later finds it ended and gives the block back itself.

        A Redis that is away leaves it to the reconciliation.
        """
        with suppress(RedisError, OSError):
            for placed in unsubmitted:
                blocks = await self._view.blocks(placed.user_id, [placed.margin_id])
                steps = [ReleaseStep(placed.user_id, placed.margin_id, block.generation) for block in blocks]
                await self._view.follow(steps)
