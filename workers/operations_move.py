"""What earlier versions ran among the orders leaves their namespace, so that nothing runs in two.

At each start of the operations worker, and for nothing after the first: schedules there are deleted, what the
clock starts again is terminated, and a wind-down that was under way begins again in the operations'
namespace, where it closes only what no order is closing yet.
"""

import structlog
from temporalio.client import Client, WorkflowExecution
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from domain.sessions import SessionClass
from domain.wind_down import WindDown
from workflow_api import contracts

LEFT = ("reconciliation", "day-roll", *(f"square-off-{session_class}" for session_class in SessionClass))
"""Schedules of earlier versions, those that had gone by the wall clock too."""
_RUNNING = "ExecutionStatus = 'Running' AND TaskQueue = '{queue}'"
WHY = "operations have a namespace of their own"
log = structlog.get_logger()


async def leave_orders(orders: Client, operations: Client) -> None:
    """Do it; where both are in one namespace there is nothing to leave."""
    if orders.namespace == operations.namespace:
        return
    for name in LEFT:
        try:
            await orders.get_schedule_handle(name).delete()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            log.info("schedule_left_orders", name=name)
    async for left in orders.list_workflows(_RUNNING.format(queue=contracts.OPERATIONS_QUEUE)):
        if left.workflow_type == contracts.WIND_DOWN_WORKFLOW:
            await _begin_again(orders, operations, left)
        await _terminate(orders, left)


async def _begin_again(orders: Client, operations: Client, left: WorkflowExecution) -> None:
    history = await orders.get_workflow_handle(left.id, run_id=left.run_id).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    (order,) = await orders.data_converter.decode(started.input.payloads, [WindDown])
    await operations.start_workflow(
        contracts.WIND_DOWN_WORKFLOW,
        order,
        id=left.id,
        task_queue=contracts.OPERATIONS_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"Begun again: {order.reason}"[:200],
    )
    log.info("wind_down_left_orders", name=left.id)


async def _terminate(orders: Client, left: WorkflowExecution) -> None:
    """One that has ended since it was listed is left alone."""
    try:
        await orders.get_workflow_handle(left.id, run_id=left.run_id).terminate(WHY)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
