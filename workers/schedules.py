"""What happens by the clock: Temporal schedules in the operations' namespace, made or updated when the
operations worker starts, and made again when Temporal has lost them.

What is missed for longer than its catch-up window is not made up for. The intraday square-off is none of
these: it goes by the market's time (workers/square_off.py).
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError

from workflow_api import contracts

RECONCILE_SECONDS = 30
CATCH_UP = timedelta(minutes=5)
TIME_ZONE = "Asia/Kolkata"
DAY_ROLL_HOURS = (0, 8)
KEEP_SECONDS = 10.0
log = structlog.get_logger()


async def ensure(client: Client) -> list[str]:
    """Every schedule as it is to be; their names."""
    names = []
    for name, schedule in _schedules():
        names.append(name)
        if not await _make(client, name, schedule):
            update = ScheduleUpdate(schedule)
            await client.get_schedule_handle(name).update(lambda _, update=update: update)  # type: ignore[misc]
    return names


async def begin_day(client: Client) -> None:
    """Start the day roll now: its hours may have passed while nobody was there."""
    await client.get_schedule_handle("day-roll").trigger(overlap=ScheduleOverlapPolicy.SKIP)


async def keep(client: Client) -> None:
    """Make what is missing, until it is cancelled: Temporal's database may be lost or set back."""
    while True:
        await asyncio.sleep(KEEP_SECONDS)
        try:
            for name, schedule in _schedules():
                if await _make(client, name, schedule):
                    log.warning("schedule_made_again", name=name)
        except RPCError as error:
            log.warning("schedules_not_kept", error=str(error))


async def _make(client: Client, name: str, schedule: Schedule) -> bool:
    """False when there is one of this name."""
    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:
        return False
    return True


def _schedules() -> Iterator[tuple[str, Schedule]]:
    every = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=RECONCILE_SECONDS))])
    said = "Hold every margin view against the ledger"
    yield _schedule("reconciliation", contracts.RECONCILIATION_WORKFLOW, every, said)
    hours = [ScheduleRange(hour) for hour in DAY_ROLL_HOURS]
    mornings = _daily(ScheduleCalendarSpec(hour=hours, minute=[ScheduleRange(5)]))
    yield _schedule("day-roll", contracts.DAY_ROLL_WORKFLOW, mornings, "Prepare the trading day")


def _daily(at: ScheduleCalendarSpec) -> ScheduleSpec:
    """Each day; on one without trading the workflow finds nothing to do."""
    return ScheduleSpec(calendars=[at], time_zone_name=TIME_ZONE)


def _schedule(
    name: str, workflow: str, spec: ScheduleSpec, summary: str, *arguments: Any
) -> tuple[str, Schedule]:
    action = ScheduleActionStartWorkflow(
        workflow,
        args=arguments,
        id=name,
        task_queue=contracts.OPERATIONS_QUEUE,
        static_summary=summary,
    )
    policy = SchedulePolicy(ScheduleOverlapPolicy.SKIP, CATCH_UP)
    return name, Schedule(action, spec, policy=policy)
