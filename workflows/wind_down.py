"""Winding down as a story: cancel what is pending, close what is open, say what is left.

Started by the risk desk's freeze, and by the clock for the intraday square-off. What a round leaves open,
by a closing order that was refused or expired, the next one closes; after ROUNDS it is left to people,
visibly.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.wind_down import Planned, SquareOff, Step, WindDowns
    from domain.wind_down import WindDown
    from workflows import contracts

ROUNDS = 3
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
    """Once a session class and trading day; again, it finds nothing to do."""

    @workflow.run
    async def run(self, asked: SquareOff) -> list[str]:
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
    cancelled: Step = await workflow.execute_activity_method(
        WindDowns.cancel_pending,
        order,
        start_to_close_timeout=_STEP,
        heartbeat_timeout=_SILENT,
        retry_policy=_RETRY,
        summary="Cancel what is pending",
    )
    told = [cancelled.sentence]
    for number in range(1, ROUNDS + 1 if order.flatten else 1):
        closed: Step = await workflow.execute_activity_method(
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
