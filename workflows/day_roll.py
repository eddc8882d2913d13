"""The day roll's story, started after midnight, again before the open, and by the operations worker."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.day_roll import MarketDay
    from workflow_api import contracts


@workflow.defn(name=contracts.DAY_ROLL_WORKFLOW)
class DayRollWorkflow:
    @workflow.run
    async def run(self) -> str:
        """What was prepared, a sentence a step."""
        prepared = await workflow.execute_activity_method(
            MarketDay.prepare_day,
            start_to_close_timeout=timedelta(seconds=30),
            summary="Prepare the trading day",
        )
        rolled = await workflow.execute_activity_method(
            MarketDay.roll_figures,
            start_to_close_timeout=timedelta(minutes=30),
            heartbeat_timeout=timedelta(minutes=1),
            summary="Carry what is open into the day",
        )
        warmed = await workflow.execute_activity_method(
            MarketDay.warm_margin_views,
            start_to_close_timeout=timedelta(minutes=30),
            summary="Load the margin views",
        )
        return f"{prepared} {rolled} {warmed}"
