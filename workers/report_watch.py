"""Reports that are not booked, looked at every second: told to the risk desk, counted, and then booked here.

Their orders' workflows should have done it; a process that is stopped must not keep the exchange's word
out of the books. A trade that has not fitted for as long is believed. Called by the operations worker, beside
what it watches in the market; several may look at once.
"""

import asyncio
import time
from collections.abc import Collection
from typing import NoReturn

import structlog
from opentelemetry import metrics
from redis.asyncio import Redis

from bus import order_updates, wakeups
from storage.books.keeping import BookKeeping
from storage.database import REFUSED_VALUES, Database, StoreUnavailable
from storage.journals import overdue_trades, report_ages
from storage.risk import risk_alerts

LOOK_SECONDS = 1.0
_meter = metrics.get_meter("hundi.books")
_REPORTS = _meter.create_gauge(
    "hundi.books.unbooked", unit="1", description="Reports and breaks unbooked for more than 5 s"
)
_AGE = _meter.create_gauge("hundi.books.unbooked_age", unit="s", description="Age of the oldest of them")
log = structlog.get_logger()


class ReportWatch:
    def __init__(self, database: Database, redis: Redis, keeping: BookKeeping) -> None:
        self._database, self._redis, self._keeping = database, redis, keeping

    async def run(self) -> NoReturn:
        """For ever; books that are away have alarms of their own."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("reports_not_watched", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        now_ns = time.time_ns()
        late = await report_ages.late(self._database, now_ns)
        _REPORTS.set(late.reports, {"kind": "report"})
        _REPORTS.set(late.breaks, {"kind": "break"})
        _AGE.set(late.age_seconds(now_ns))
        if late.reports or late.breaks:
            async with self._database.transaction() as conn:
                alerts = await report_ages.alert(conn, now_ns)
            await risk_alerts.tell(self._redis, alerts)
        if late.breaks:
            await self._believe(now_ns)
        if late.reports:
            await self._book(await report_ages.users_behind(self._database, now_ns))

    async def _believe(self, now_ns: int) -> None:
        async with self._database.transaction() as conn:
            believed = await overdue_trades.take_in(conn, now_ns - report_ages.BOOKED_WITHIN_NS, now_ns)
        await order_updates.publish(self._redis, believed.updates)
        await risk_alerts.tell(self._redis, believed.alerts)
        await wakeups.wake(self._redis, *(wakeups.inbox(owner) for owner in believed.owners))
        await self._book({update.user_id for update in believed.updates})

    async def _book(self, user_ids: Collection[int]) -> None:
        """One account's fault does not keep the others waiting: the desk has been told of it."""
        for user_id in user_ids:
            try:
                await self._keeping.catch_up([user_id])
            except (ValueError, *REFUSED_VALUES):
                log.exception("reports_not_booked", user_id=user_id)
