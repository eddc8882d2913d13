"""The day roll: what the database must hold before the day's first order. Called by its workflow."""

import time

from temporalio import activity

from domain.time import trade_date
from storage import market_day
from storage.database import Database


class MarketDay:
    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name="prepare_day")
    async def prepare_day(self) -> str:
        """Session classes of today, partitions of today and tomorrow."""
        day = trade_date(time.time_ns())
        async with self._database.transaction() as conn:
            await market_day.prepare(conn, day)
        return f"{day} is prepared: session classes are set, the partitions of it and the next day are there."
