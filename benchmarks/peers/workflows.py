"""Workflows beside the order's: an empty one, and one with a regular activity a step, as it is often written.

Client and worker share a process and start eagerly, with the order worker's own options and payloads; as many
are in progress at once as an order worker keeps. Run in a process of its own by benchmarks/orders.py.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from config.settings import Settings
from workers.order_worker import STICKY_SECONDS
from workflow_api.payloads import DATA_CONVERTER

STEPS = 4
_run_ends: list[Callable[[], None]] = [lambda: None]
"""What the story calls when its run is over: the next may start."""


class Finished(NamedTuple):
    """From the first start until the last workflow has ended at the server; CPU of client and worker."""

    seconds: float
    cpu_seconds: float


@activity.defn
async def step(order: dict[str, Any]) -> dict[str, Any]:
    return order


@workflow.defn
class Empty:
    @workflow.run
    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        _run_ends[-1]()
        return order


@workflow.defn
class ActivityAStep:
    @workflow.run
    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        for _ in range(STEPS):
            order = await workflow.execute_activity(step, order, start_to_close_timeout=timedelta(seconds=10))
        _run_ends[-1]()
        return order


def run(ours: Settings, name: str, times: int, order: dict[str, Any]) -> Finished:
    """Start so many workflows of the type and wait for their end. Raises TimeoutError after a minute."""

    async def within_a_minute() -> Finished:
        return await asyncio.wait_for(_run(ours, name, times, order), 60)

    return uvloop.run(within_a_minute())


async def _run(ours: Settings, name: str, times: int, order: dict[str, Any]) -> Finished:
    client = await Client.connect(
        ours.temporal_target, namespace=ours.temporal_namespace, data_converter=DATA_CONVERTER
    )
    queue = f"benchmark-{uuid.uuid4()}"
    slots = 2 * ours.orders_in_progress_max + 10
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Empty, ActivityAStep],
        activities=[step],
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_executor=ThreadPoolExecutor(1),
        max_concurrent_workflow_tasks=slots,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
    )
    async with worker:
        began, busy = time.perf_counter(), time.process_time()
        await _all(client, name, queue, times, order, ours.orders_in_progress_max)
        finished = Finished(time.perf_counter() - began, time.process_time() - busy)
        while True:
            completed = await client.count_workflows(
                f"TaskQueue = '{queue}' AND ExecutionStatus = 'Completed'"
            )
            if completed.count == times:
                return finished
            await asyncio.sleep(0.1)


async def _all(
    client: Client, name: str, queue: str, times: int, order: dict[str, Any], at_once: int
) -> None:
    """Only the last ones are waited for at the server: a long poll for each would be a load of its own."""
    free, loop = asyncio.Semaphore(at_once), asyncio.get_running_loop()

    def run_ends() -> None:
        loop.call_soon_threadsafe(free.release)

    _run_ends.append(run_ends)

    async def start(number: int) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow(
            name,
            order,
            id=f"{queue}-{number}",
            task_queue=queue,
            request_eager_start=True,
            task_timeout=timedelta(seconds=3),
        )

    async with asyncio.TaskGroup() as starting:
        started = []
        for number in range(times):
            await free.acquire()
            started.append(starting.create_task(start(number)))
    await asyncio.gather(*(each.result().result() for each in started[-at_once:]))
