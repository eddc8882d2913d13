"""What the exchange says of an order after its story: a trade taken back or put right is booked all the same.

One short workflow, started by the order worker when the order's own has ended. Booking is keyed by the
reports, so it may be started again for nothing.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.books import Books
    from domain.orders import PlacedOrder
    from workflow_api import contracts

_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_interval=timedelta(seconds=5))


@workflow.defn(name=contracts.LATE_REPORTS_WORKFLOW)
class LateReportsWorkflow:
    """Workflow id `order-<order_id>-late-reports`; each run books what is due by then."""

    @workflow.run
    async def run(self, placed: PlacedOrder) -> str:
        booked = await workflow.execute_local_activity_method(
            Books.book,
            args=[placed],
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary="Book what the exchange reported afterwards",
        )
        workflow.upsert_search_attributes([contracts.ORDER_STATUS.value_set(booked.status)])
        return booked.sentence
