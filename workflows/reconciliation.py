"""The reconciliation's story: one step, started every 30 seconds by its schedule.

A pass that fails is tried again by the next; two never overlap.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import Reconciled, Reconciliation
    from workflows import contracts


@workflow.defn(name=contracts.RECONCILIATION_WORKFLOW)
class ReconciliationWorkflow:
    @workflow.run
    async def run(self) -> Reconciled:
        """What the pass found, one sentence first."""
        return await workflow.execute_activity_method(
            Reconciliation.reconcile,
            start_to_close_timeout=timedelta(seconds=25),
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary="Hold every margin view against the ledger",
        )
