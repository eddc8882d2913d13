"""Today's workflows over histories of orders that began before: each decision comes out as it was recorded.

An order that is open while a new version is rolled out goes on in it, so a history that does not replay is an
order that would stall. tests/support/record_histories.py records more; none is ever changed or removed.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner

from tests.support.record_histories import LATE_REPORTS, ORDERS
from workflow_api.payloads import DATA_CONVERTER
from workflows.late_reports import LateReportsWorkflow
from workflows.orders import OrderWorkflow

DIRECTORY = Path(__file__).parent / "histories"
HISTORIES = {path.stem: path.read_text() for path in sorted(DIRECTORY.glob("*.json"))}


async def replay(history: str, workflow_class: type[Any], runner: WorkflowRunner) -> None:
    replayer = Replayer(workflows=[workflow_class], workflow_runner=runner, data_converter=DATA_CONVERTER)
    await replayer.replay_workflow(WorkflowHistory.from_json("order-1", history))


def outcome(name: str) -> str:
    return name.rpartition("-")[0]


def test_each_outcome_has_a_history() -> None:
    assert {outcome(name) for name in HISTORIES} == {*ORDERS, *LATE_REPORTS}


@pytest.mark.parametrize("name", HISTORIES)
async def test_an_order_that_began_before_goes_on_today(name: str, runner: WorkflowRunner) -> None:
    story = LateReportsWorkflow if outcome(name) in LATE_REPORTS else OrderWorkflow
    await replay(HISTORIES[name], story, runner)


@workflow.defn(dynamic=True)
class ChangedUnannounced:
    """A moment's rest at the start: small, and enough to stall every order that is open."""

    @workflow.run
    async def run(self, told: Sequence[RawValue]) -> str:
        await workflow.sleep(timedelta(milliseconds=1))
        return "rested"


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_story_told_otherwise_is_caught(name: str) -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replay(HISTORIES[name], ChangedUnannounced, UnsandboxedWorkflowRunner())
