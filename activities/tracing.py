"""Each step is a span of its order's trace and a sample of its stage, whatever the step does.

Every step takes the placed order first; it carries the trace context of the request. Registered once, by the
order worker.
"""

import time
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from telemetry import stages
from telemetry.spans import span


class StepTracing(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Traced(next)


class _Traced(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        placed, step, began_ns = input.args[0], activity.info().activity_type, time.time_ns()
        with span(step, placed.traceparent, order_id=str(placed.order_id)):
            answer = await super().execute_activity(input)
        stages.record(step, time.time_ns() - began_ns)
        return answer
