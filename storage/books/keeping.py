"""The books brought up to what is journaled, for whoever is about to decide on them or to show them.

Reports reach the books some milliseconds after the client has heard of them. What he was told counts: before
an order is refused for want of money or shares, before a change is decided, and before holdings, positions or
margins are read, what is journaled of him is booked, whatever process that is. Called by the steps of the
order worker, the API's reads and dry runs, and the operations worker.
"""

import time
from collections.abc import Collection

from redis.asyncio import Redis

from domain.margin import Block, BlockOutcome
from domain.orders import Side
from domain.time import NANOS
from storage.books import booking
from storage.books.booking import BookingResult
from storage.database import Database
from storage.journals import unbooked
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import ReleaseStep
from storage.risk import risk_alerts

RECENT_NS = 60 * NANOS
"""By then the story of an order that was cancelled has given its block back."""
_VERSION = "SELECT version FROM margin_ledger WHERE user_id = %s"
_ENDED_UNSUBMITTED = """
    SELECT order_id FROM (
        SELECT order_id, status, updated_at_ns, parent_id FROM orders WHERE user_id = %s
        ORDER BY order_id DESC LIMIT 100) newest
    WHERE status IN ('CANCELLED', 'REJECTED') AND updated_at_ns >= %s AND parent_id IS NULL
      AND NOT EXISTS (SELECT FROM margin_holds h WHERE h.order_id = newest.order_id)
"""


class BookKeeping:
    """One a process."""

    def __init__(
        self, database: Database, redis: Redis, portfolios: DerivativeMargins, intraday_percent: int
    ) -> None:
        self._database, self._redis = database, redis
        self.portfolios, self.intraday_percent = portfolios, intraday_percent

    async def catch_up(self, user_ids: Collection[int]) -> bool:
        """Book what is journaled of these users; whether there was anything. One statement when not."""
        async with self._database.reading() as conn:
            behind = await unbooked.behind(conn, user_ids)
        for user_id in sorted(behind):
            async with self._database.transaction() as conn:
                booked = await booking.catch_up(conn, self.portfolios, [user_id], self.intraday_percent)
            await self.follow_up(booked)
        return bool(behind)

    async def block(
        self, user_id: int, order_id: int, side: Side, position: str, nets: bool, quantity: int, unit: int
    ) -> Block:
        """Block margin in the view; what is not covered is asked once more on books that lag behind nothing.

        (Also where nothing was behind: another process may have booked since the first answer.)
        """
        asked = (user_id, order_id, side, position, nets, quantity, unit)
        block = await self.portfolios.view.block(*asked)
        if block.outcome is not BlockOutcome.INSUFFICIENT:
            return block
        await self.catch_up([user_id])
        await self._release_unsubmitted(user_id)
        return await self.portfolios.view.block(*asked)

    async def moved_on(self, user_id: int, version: int) -> bool:
        """Whether the books, brought up to the journals, are other than those of a version."""
        await self.catch_up([user_id])
        async with self._database.reading() as conn:
            row = await (await conn.execute(_VERSION, (user_id,))).fetchone()
        return row is not None and row["version"] != version

    async def _release_unsubmitted(self, user_id: int) -> None:
        """Give back what the view has blocked for orders that ended before they were submitted: their own
        stories come to it later."""
        async with self._database.reading() as conn:
            found = await conn.execute(_ENDED_UNSUBMITTED, (user_id, time.time_ns() - RECENT_NS))
            order_ids = [row["order_id"] for row in await found.fetchall()]
        view = self.portfolios.view
        for order_id in order_ids:
            for block in await view.blocks(user_id, [order_id]):
                await view.follow([ReleaseStep(user_id, order_id, block.generation)])

    async def follow_up(self, booked: BookingResult) -> None:
        """After the commit: the risk desk is told, voided margin views are built anew."""
        await risk_alerts.tell(self._redis, booked.alerts)
        for user_id in booked.voided:
            await self.portfolios.view.ensure(user_id)
