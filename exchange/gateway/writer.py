"""The gateway's writer: everything that gathered while the last commit ran goes into the next one.

One batch in flight; sends before reports, so the record keeps their true order. After the commit: users'
updates are published, order workers woken, breaks alerted. A database that is away keeps the batch here
and is asked again; a crash loses it, and the exchange resends. Called by workers/gateway.py.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import market_status, order_updates, wakeups
from bus.stream_frames import AnnouncedPhase
from config.crash_points import crash_point
from domain.reports import BandSet, SessionPhase
from domain.time import rfc3339
from exchange.gateway.telemetry import REPORTS_BROKEN, REPORTS_JOURNALED, answered, report_told
from storage.database import REFUSED_VALUES, Database, StoreUnavailable
from storage.journals import gateway_commit
from storage.journals.inbox_rows import Arrival, Unreadable
from storage.journals.outbox import Sent
from storage.risk import risk_alerts

BATCH_MAX = 1000
RETRY_SECONDS = 0.5
log = structlog.get_logger()


class Writer:
    """`sent` and `arrived` gather; `run` writes until it is cancelled and everything is written."""

    def __init__(self, database: Database, redis: Redis, on_written: Callable[[bool], None]) -> None:
        self._database = database
        self._redis = redis
        self._on_written = on_written
        self._sent: list[Sent] = []
        self._arrived: list[Arrival] = []
        self._work = asyncio.Event()
        self._idle, self._free = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._free.set()

    def sent(self, sent: list[Sent]) -> None:
        self._sent += sent
        self._gathered()

    def arrived(self, arrival: Arrival) -> None:
        self._arrived.append(arrival)
        self._gathered()

    def _gathered(self) -> None:
        self._idle.clear()
        self._work.set()

    def hold(self) -> None:
        """Nothing more is written until `resume`; nobody may wait for `settled` meanwhile."""
        self._free.clear()

    def resume(self) -> None:
        self._free.set()

    async def settled(self) -> None:
        """Until all that has gathered is durable."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._sent or self._arrived:
                await self._free.wait()
                sent, self._sent = self._sent[:BATCH_MAX], self._sent[BATCH_MAX:]
                # A report waits for its send: while more sends than fit are waiting, they go first.
                room = 0 if self._sent else BATCH_MAX
                arrived, self._arrived = self._arrived[:room], self._arrived[room:]
                await self._write(sent, arrived)
            self._idle.set()

    async def _write(self, sent: list[Sent], arrived: list[Arrival]) -> None:
        """One commit; if the database refuses a value in it, one for each report, so that work goes on."""
        try:
            await self._commit(sent, arrived)
        except REFUSED_VALUES as error:
            if len(arrived) == 1 and not sent and not isinstance(arrived[0].report, Unreadable):
                unfit = Unreadable(repr(arrived[0].report), str(error))
                await self._commit([], [replace(arrived[0], report=unfit)])
            elif arrived:
                await self._commit(sent, [])
                for arrival in arrived:
                    await self._write([], [arrival])
            else:
                raise

    async def _commit(self, sent: list[Sent], arrived: list[Arrival]) -> None:
        crash_point("gateway.before_mark" if sent else "gateway.before_journal")
        while True:
            try:
                async with self._database.transaction() as conn:
                    written = await gateway_commit.write(conn, sent, arrived, time.time_ns())
                break
            except StoreUnavailable as error:
                log.warning("journal_waits_for_database", error=str(error), reports=len(arrived))
                await asyncio.sleep(RETRY_SECONDS)
        crash_point("gateway.after_journal")
        await self._tell(arrived, written)
        # Answers make room in flight, phases release armed orders, unknown ones are owed again.
        self._on_written(bool(written.unknown))

    async def _tell(self, arrived: list[Arrival], written: gateway_commit.GatewayCommit) -> None:
        await order_updates.publish(self._redis, written.updates)
        await risk_alerts.tell(self._redis, written.alerts)
        await wakeups.wake(self._redis, *(wakeups.inbox(owner) for owner in written.owners))
        for arrival in arrived:
            if isinstance(arrival.report, SessionPhase):
                await self._announce(arrival.report)
            elif isinstance(arrival.report, BandSet):
                await wakeups.wake(self._redis, wakeups.PRICE_BANDS)
            else:
                report_told(arrival, written.traces.get(arrival.order_id or 0, ""))
        if arrived:
            answered(written.answered, arrived[0].received_at_ns)
            REPORTS_JOURNALED.add(len(arrived))
        for broken in written.breaks:
            REPORTS_BROKEN.add(1, {"exchange": broken.arrival.exchange})
            log.warning(
                "report_broken",
                order_id=broken.arrival.order_id,
                traceparent=written.traces.get(broken.arrival.order_id or 0),
                report_id=broken.arrival.report_id,
                session=broken.arrival.session,
                reason=broken.reason,
            )

    async def _announce(self, phase: SessionPhase) -> None:
        announced = AnnouncedPhase(
            exchange=phase.exchange,
            segment=phase.segment,
            session_class=phase.session_class,
            phase=phase.phase,
            since=rfc3339(phase.since_ns),
        )
        log.info("market_phase", **msgspec.structs.asdict(announced))
        try:
            await market_status.publish(self._redis, announced)
        except (RedisError, OSError) as error:
            log.warning("market_phase_not_announced", error=str(error))
