"""The sweep: an order that Temporal was given and that is not finished has a running story, or gets one.

It goes round the unfinished orders, a page at a time, asks Temporal which of the page run, and begins the
others again from the journals. After some complete pages it rests; while stories are missing it goes on, so
that a lost database is made good as fast as stories start, and a healthy one costs a few queries. Run by the
operations worker.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog
from opentelemetry import metrics
from temporalio.client import Client
from temporalio.service import RPCError

from domain.time import NANOS
from storage.database import Database, StoreUnavailable
from storage.orders import unfinished
from workflow_api import contracts, stories

SWEEP_SECONDS = 2.0
PAGE = 200
PAGES_AT_ONCE = 5
"""Of complete pages; then the sweep rests."""
SETTLED_NS = 3 * NANOS
"""A story younger than this may not be listed yet."""
RESTARTS = metrics.get_meter("hundi").create_counter(
    "hundi.stories.begun_again", unit="1", description="Stories of orders that Temporal had lost"
)
log = structlog.get_logger()


class StorySweep:
    def __init__(self, client: Client, database: Database) -> None:
        self._client, self._database = client, database
        self._after = 0
        """The last order of the page before; 0 at the beginning of a round."""

    async def run(self) -> None:
        """Until it is cancelled; a Temporal or a database that is away is waited for."""
        while True:
            try:
                await self.sweep()
            except (RPCError, StoreUnavailable, OSError) as error:
                log.warning("stories_not_swept", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """One round, or PAGES_AT_ONCE complete pages of it."""
        complete = 0
        while complete < PAGES_AT_ONCE:
            page = await unfinished.candidates(self._database, self._after, time.time_ns() - SETTLED_NS, PAGE)
            complete += not await self._begin_missing(page)
            self._after = page[-1] if len(page) == PAGE else 0
            if not self._after:
                return

    async def _begin_missing(self, page: Sequence[int]) -> int:
        """Begin again what has no running story; how many that were."""
        running = await self._running(page)
        missing = [order_id for order_id in page if order_id not in running]
        # What has ended since the page was read is not unfinished any more.
        again = await unfinished.read(self._database, missing) if missing else []
        begun = [placed.order_id for placed in again if await stories.start(self._client, placed, again=True)]
        if begun:
            RESTARTS.add(len(begun))
            log.warning("stories_begun_again", orders=len(begun), first=begun[0])
        return len(begun)

    async def _running(self, page: Sequence[int]) -> set[int]:
        """Those of the orders that Temporal lists; a start finds out about one that is not listed yet."""
        if not page:
            return set()
        ids = {contracts.order_workflow_id(order_id): order_id for order_id in page}
        named = ", ".join(f"'{name}'" for name in ids)
        query = f"ExecutionStatus = 'Running' AND WorkflowId IN ({named})"
        return {ids[one.id] async for one in self._client.list_workflows(query, page_size=PAGE)}
