"""Winding down as a story: cancel what is pending, close what is open, say what is left.

Started by the risk desk's freeze, and for the intraday square-off by the watch of market time
(workers/square_off.py). What a round leaves open, by a closing order that was refused, expired or found no
one, the next one closes; after its rounds it is left, visibly, to people or to the watch.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.wind_down import Planned, SquareOffPlan, WindDowns, WindDownStep
    from domain.wind_down import WindDown
    from workflow_api import contracts

_STEP = timedelta(minutes=5)
_SILENT = timedelta(seconds=30)
_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))


@workflow.defn(name=contracts.WIND_DOWN_WORKFLOW)
class WindDownWorkflow:
    @workflow.run
    async def run(self, order: WindDown) -> list[str]:
        """What each step did, in a sentence."""
        return await _wind_down(order)


@workflow.defn(name=contracts.SQUARE_OFF_WORKFLOW)
class SquareOffWorkflow:
    """One at a time of an exchange's session class and day; again, it finds nothing to do."""

    @workflow.run
    async def run(self, asked: SquareOffPlan) -> list[str]:
        """What each step did, in a sentence."""
        planned: Planned = await workflow.execute_activity_method(
            WindDowns.plan_square_off,
            asked,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary="Is it a day of regular trading?",
        )
        steps = await _wind_down(planned.order) if planned.order is not None else []
        return [planned.sentence, *steps]


async def _wind_down(order: WindDown) -> list[str]:
    told = [await _cancel(order)]
    for number in range(1, order.rounds + 1 if order.flatten else 1):
        # A closing order that rests where nobody trades is in the way of the next round's.
        if number > 1 and workflow.patched("cancel-before-each-round"):
            told.append(await _cancel(order))
        closed: WindDownStep = await workflow.execute_activity_method(
            WindDowns.close_positions,
            args=[order, number],
            start_to_close_timeout=_STEP,
            heartbeat_timeout=_SILENT,
            retry_policy=_RETRY,
            summary=f"Close what is open, round {number}",
        )
        told.append(closed.sentence)
        if not closed.left:
            break
    return told


async def _cancel(order: WindDown) -> str:
    cancelled: WindDownStep = await workflow.execute_activity_method(
        WindDowns.cancel_pending,
        order,
        start_to_close_timeout=_STEP,
        heartbeat_timeout=_SILENT,
        retry_policy=_RETRY,
        summary="Cancel what is pending",
    )
    return cancelled.sentence
