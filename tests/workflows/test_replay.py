"""Today's workflow over histories of orders that began before: each decision comes out as it was recorded.

An order that is open while a new version is rolled out goes on in it, so a history that does not replay is an
order that would stall. tests/support/record_histories.py records more; none is ever changed or removed.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner

from domain.orders import PlacedOrder
from tests.support.record_histories import OUTCOMES
from workflows.contracts import ORDER_WORKFLOW
from workflows.orders import OrderWorkflow
from workflows.payloads import DATA_CONVERTER

DIRECTORY = Path(__file__).parent / "histories"
HISTORIES = {path.stem: path.read_text() for path in sorted(DIRECTORY.glob("*.json"))}


async def replay(history: str, workflow_class: type[Any], runner: WorkflowRunner) -> None:
    replayer = Replayer(workflows=[workflow_class], workflow_runner=runner, data_converter=DATA_CONVERTER)
    await replayer.replay_workflow(WorkflowHistory.from_json("order-1", history))


def test_each_outcome_has_a_history() -> None:
    assert {name.rpartition("-")[0] for name in HISTORIES} == set(OUTCOMES)


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
async def test_an_order_that_began_before_goes_on_today(history: str, runner: WorkflowRunner) -> None:
    await replay(history, OrderWorkflow, runner)


@workflow.defn(name=ORDER_WORKFLOW)
class ChangedUnannounced:
    """A moment's rest before the gates: small, and enough to stall every order that is open."""

    @workflow.run
    async def run(self, placed: PlacedOrder) -> str:
        await workflow.sleep(timedelta(milliseconds=1))
        return str(placed.order_id)


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
async def test_a_story_told_otherwise_is_caught(history: str) -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replay(history, ChangedUnannounced, UnsandboxedWorkflowRunner())
