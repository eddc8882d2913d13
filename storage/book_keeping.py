"""The books brought up to what is journaled, for whoever is about to decide on them or to show them.

Reports reach the books some milliseconds after the client has heard of them. What he was told counts: before
an order is refused for want of money or shares, before a change is decided, and before holdings, positions or
margins are read, what is journaled of him is booked, whatever process that is. Called by the steps of the
order worker, the API's reads and dry runs, and the operations worker.
"""

from collections.abc import Collection

from redis.asyncio import Redis

from domain.margin import Block, BlockOutcome
from domain.orders import Side
from storage import books, risk_alerts, unbooked
from storage.books import Booked
from storage.database import Database
from storage.portfolios import Portfolios


class BookKeeping:
    """One a process."""

    def __init__(
        self, database: Database, redis: Redis, portfolios: Portfolios, intraday_percent: int
    ) -> None:
        self._database, self._redis = database, redis
        self.portfolios, self.intraday_percent = portfolios, intraday_percent

    async def catch_up(self, user_ids: Collection[int]) -> bool:
        """Book what is journaled of these users; whether there was anything. One statement when not."""
        async with self._database.reading() as conn:
            behind = await unbooked.behind(conn, user_ids)
        for user_id in sorted(behind):
            async with self._database.transaction() as conn:
                booked = await books.catch_up(conn, self.portfolios, [user_id], self.intraday_percent)
            await self.follow_up(booked)
        return bool(behind)

    async def block(
        self, user_id: int, order_id: int, side: Side, position: str, nets: bool, quantity: int, unit: int
    ) -> Block:
        """Block margin in the view; what is not covered is asked once more when the books lagged behind."""
        asked = (user_id, order_id, side, position, nets, quantity, unit)
        block = await self.portfolios.view.block(*asked)
        if block.outcome is BlockOutcome.INSUFFICIENT and await self.catch_up([user_id]):
            return await self.portfolios.view.block(*asked)
        return block

    async def follow_up(self, booked: Booked) -> None:
        """After the commit: the risk desk is told, voided margin views are built anew."""
        await risk_alerts.tell(self._redis, booked.alerts)
        for user_id in booked.voided:
            await self.portfolios.view.ensure(user_id)
