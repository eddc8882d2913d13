"""Asking an order's workflow: the answer is its own, or a problem that says why there is none."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from activities.decision import Decision
from api.problems import Problem, ProblemCode, refused
from domain.rejects import Refusal, RejectCode
from workflows.contracts import order_workflow_id

ASK_SECONDS = 5


async def ask(temporal: Client, order_id: int, update: str, *arguments: Any) -> Decision:
    """Ask the order's workflow. Raises Problem when it refuses or does not answer."""
    handle = temporal.get_workflow_handle(order_workflow_id(order_id))
    try:
        asked: Decision = await handle.execute_update(
            update, args=arguments, result_type=Decision, rpc_timeout=timedelta(seconds=ASK_SECONDS)
        )
    except WorkflowUpdateFailedError:
        raise refused([Refusal(RejectCode.ORDER_ALREADY_FINAL)]) from None
    except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, RuntimeError):
        # Not started yet, or nobody answers: whether it was taken is not known.
        detail = "The order's workflow does not answer; ask again."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise Problem(status, ProblemCode.ORDER_BUSY, detail, retryable=True) from None
    if asked.reject_code is not None:
        raise refused([Refusal(RejectCode(asked.reject_code))])
    return asked
