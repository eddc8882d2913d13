"""The reconciliation's story, started every 30 seconds: our books, then an exchange's day that is over.

A pass that fails is tried again by the next; two never overlap.
"""

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import Reconciled, Reconciliation
    from activities.trade_comparison import TradeFiles
    from workflow_api import contracts

_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name=contracts.RECONCILIATION_WORKFLOW)
class ReconciliationWorkflow:
    @workflow.run
    async def run(self) -> Reconciled:
        """What the pass found, one sentence first."""
        reconciled = await workflow.execute_activity_method(
            Reconciliation.reconcile,
            start_to_close_timeout=timedelta(seconds=25),
            retry_policy=_ONCE,
            summary="Hold the margin views against the ledger, the holds against the exchange",
        )
        trades = await workflow.execute_activity_method(
            TradeFiles.compare_trades,
            start_to_close_timeout=timedelta(minutes=2),
            retry_policy=_ONCE,
            summary="Hold the trades of a closed day against the exchange's file",
        )
        return replace(reconciled, trades=trades)
