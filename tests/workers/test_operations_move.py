"""A market that ran its operations among the orders comes up with them in their own namespace, each once."""

from datetime import timedelta
from uuid import uuid4

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleState,
    WorkflowExecutionStatus,
)

from config.settings import Settings
from domain.wind_down import Selection, WindDown
from tests.support.eventually import eventually
from workers.operations_move import LEFT, leave_orders
from workflow_api import contracts
from workflow_api.connection import connect, connect_operations

AN_ORDER = WindDown(Selection(user_id=7), "freeze:7", "RISK01", "unusual trading", flatten=True)


async def left_behind(orders: Client, wind_down: str, order: str) -> None:
    """What a market of an earlier version has in the orders' namespace: and an order's story."""
    names = {schedule.id async for schedule in await orders.list_schedules()}
    for name in set(LEFT) - names:
        action = ScheduleActionStartWorkflow(
            contracts.RECONCILIATION_WORKFLOW, id=name, task_queue=contracts.OPERATIONS_QUEUE
        )
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(days=1))])
        await orders.create_schedule(name, Schedule(action, spec, state=ScheduleState(paused=True)))
    started = [
        (contracts.WIND_DOWN_WORKFLOW, wind_down, contracts.OPERATIONS_QUEUE, [AN_ORDER]),
        (contracts.RECONCILIATION_WORKFLOW, f"run-{wind_down}", contracts.OPERATIONS_QUEUE, []),
        (contracts.ORDER_WORKFLOW, order, f"queue-{order}", []),
    ]
    for workflow, name, queue, arguments in started:
        await orders.start_workflow(workflow, args=arguments, id=name, task_queue=queue)

    async def listed() -> bool:
        query = f"ExecutionStatus = 'Running' AND WorkflowId IN ('{wind_down}', 'run-{wind_down}', '{order}')"
        return (await orders.count_workflows(query)).count == len(started)

    await eventually(listed, within=20)


async def status(client: Client, name: str) -> WorkflowExecutionStatus | None:
    return (await client.get_workflow_handle(name).describe()).status


async def test_what_ran_among_the_orders_runs_apart_from_them_and_once(servers: Settings) -> None:
    orders, operations = await connect(servers, "test"), await connect_operations(servers, "test")
    wind_down, order = f"wind-down-{uuid4()}", f"order-{uuid4()}"
    await left_behind(orders, wind_down, order)
    try:
        for _ in range(2):
            await leave_orders(orders, operations)
        assert not {one.id async for one in await orders.list_schedules()} & set(LEFT)
        assert await status(orders, wind_down) is WorkflowExecutionStatus.TERMINATED
        assert await status(orders, f"run-{wind_down}") is WorkflowExecutionStatus.TERMINATED
        assert await status(orders, order) is WorkflowExecutionStatus.RUNNING
        again = operations.get_workflow_handle(wind_down)
        assert await status(operations, wind_down) is WorkflowExecutionStatus.RUNNING
        started = (await again.fetch_history()).events[0].workflow_execution_started_event_attributes
        assert await operations.data_converter.decode(started.input.payloads, [WindDown]) == [AN_ORDER]
    finally:
        await orders.get_workflow_handle(order).terminate()
        await operations.get_workflow_handle(wind_down).terminate()


async def test_in_one_namespace_nothing_is_left(servers: Settings) -> None:
    both = servers.model_copy(update={"temporal_operations_namespace": servers.temporal_namespace})
    orders, operations = await connect(both, "test"), await connect_operations(both, "test")
    name = f"wind-down-{uuid4()}"
    await operations.start_workflow(
        contracts.WIND_DOWN_WORKFLOW, AN_ORDER, id=name, task_queue=contracts.OPERATIONS_QUEUE
    )
    try:
        await leave_orders(orders, operations)
        assert await status(orders, name) is WorkflowExecutionStatus.RUNNING
    finally:
        await operations.get_workflow_handle(name).terminate()
