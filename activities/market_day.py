"""The day roll: what must stand before the day's first order. Called by its workflow."""

import time

from temporalio import activity

from domain.time import trade_date
from storage import market_day
from storage.database import Database
from storage.margin_book import MarginBook


class MarketDay:
    def __init__(self, database: Database, view: MarginBook) -> None:
        self._database, self._view = database, view

    @activity.defn(name="prepare_day")
    async def prepare_day(self) -> str:
        """Session classes of today, partitions of today and tomorrow."""
        day = trade_date(time.time_ns())
        async with self._database.transaction() as conn:
            await market_day.prepare(conn, day)
        return f"{day} is prepared: session classes are set, the partitions of it and the next day are there."

    @activity.defn(name="warm_margin_views")
    async def warm_margin_views(self) -> str:
        """Every account's margin view, loaded before the open."""
        return f"{await market_day.warm(self._database, self._view)} margin views were loaded."
