"""Reports that are not booked, looked at every second: alerts, and two gauges for whoever watches the house.

Called by the operations worker, beside what it watches in the market; several may look at once.
"""

import asyncio
import time
from typing import NoReturn

import psycopg
import structlog
from opentelemetry import metrics
from psycopg_pool import PoolTimeout
from redis.asyncio import Redis

from storage import report_ages, risk_alerts
from storage.database import Database

LOOK_SECONDS = 1.0
_meter = metrics.get_meter("hundi.books")
_REPORTS = _meter.create_gauge(
    "hundi.books.unbooked", unit="1", description="Reports and breaks unbooked for more than 5 s"
)
_AGE = _meter.create_gauge("hundi.books.unbooked_age", unit="s", description="Age of the oldest of them")
log = structlog.get_logger()


class ReportWatch:
    def __init__(self, database: Database, redis: Redis) -> None:
        self._database, self._redis = database, redis

    async def run(self) -> NoReturn:
        """For ever; books that are away have alarms of their own."""
        while True:
            try:
                await self.look()
            except (psycopg.OperationalError, PoolTimeout) as error:
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
