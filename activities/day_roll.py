"""The day roll: what must stand before the day's first order. Called by its workflow.

Each step is idempotent; together they are done after midnight, before the open, and at every start.
"""

import time

import structlog
from temporalio import activity

from config.sessions import session_rules
from domain.time import trade_date
from storage.books import day_roll
from storage.database import Database
from storage.margin.view import MarginView
from storage.market import market_day

log = structlog.get_logger()


class MarketDay:
    def __init__(self, database: Database, view: MarginView) -> None:
        self._database, self._view = database, view

    @activity.defn(name="prepare_day")
    async def prepare_day(self) -> str:
        """Contracts and session classes of today, partitions of today and tomorrow."""
        day = trade_date(time.time_ns())
        async with self._database.transaction() as conn:
            await market_day.prepare(conn, day)
        said = f"{day} is prepared: its contracts are listed, session classes set, partitions are there."
        warning = session_rules().calendar.warning(day)
        if warning is not None:
            log.warning("calendar_ends", said=warning)
        return f"{said} {warning}" if warning else said

    @activity.defn(name="roll_figures")
    async def roll_figures(self) -> str:
        """What was bought, sold and realised before today: cash now, and no figure of the day any more."""
        day = trade_date(time.time_ns())
        user_ids = await day_roll.due(self._database, day)
        moved = 0
        for at in range(0, len(user_ids), day_roll.ROLLED_AT_ONCE):
            async with self._database.transaction() as conn:
                rolled = await day_roll.roll(conn, user_ids[at : at + day_roll.ROLLED_AT_ONCE], day)
            for account in rolled:
                await self._view.ensure(account.user_id)
            moved += len(rolled)
            activity.heartbeat(at)
        return f"{len(user_ids)} accounts begin the day anew, profit or loss of {moved} became cash."

    @activity.defn(name="warm_margin_views")
    async def warm_margin_views(self) -> str:
        """Every account's margin view, loaded before the open."""
        return f"{await market_day.warm(self._database, self._view)} margin views were loaded."
