"""Starting the story of an order, for the first time or again: under its one id, never two at once.

Temporal's memory may be lost, the journals' is not: a story that is missing begins again from what they say.
Called by the order worker, the sweep of the operations worker, and the API when it asks a story that is not
there.
"""

from contextlib import suppress
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain.orders import PlacedOrder
from storage.database import Database
from storage.orders import unfinished
from workflow_api import contracts

TASK_TIMEOUT = timedelta(seconds=3)
"""Bounds how long an order waits for another worker when its own dies."""
log = structlog.get_logger()


async def start(client: Client, placed: PlacedOrder, *, again: bool = False, eager: bool = False) -> bool:
    """Start the order's story; False when it runs already, or, unless `again`, has run."""
    reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            contracts.ORDER_WORKFLOW,
            placed,
            id=contracts.order_workflow_id(placed.order_id),
            task_queue=contracts.ORDER_QUEUE,
            id_reuse_policy=reuse,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            request_eager_start=eager,
            task_timeout=TASK_TIMEOUT,
            search_attributes=contracts.search_attributes(placed),
            static_summary=contracts.summary(placed),
        )
        return True
    return False


async def restart(client: Client, database: Database, order_id: int) -> bool:
    """Begin the story again that is not there; False when the order has nothing left to do."""
    for placed in await unfinished.read(database, [order_id]):
        if await start(client, placed, again=True):
            log.warning("story_begun_again", order_id=order_id)
        return True
    return False
