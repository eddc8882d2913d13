"""Asking for a change of an order: refused from its row where that is enough, else its workflow decides.

What the row says is read without a lock, so a flood of requests stands in nobody's way; only a request that
may pass takes a number and reaches the workflow. A story that Temporal has lost is begun again, then asked.
"""

import asyncio
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import Request
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from api.origin import origin
from api.problems import Problem, ProblemCode, refused
from domain.changes import Change, change_refusals
from domain.events import RecordEvent
from domain.money import rupees
from domain.orders import OrderTerms
from domain.rejects import Refusal, RejectCode, by_precedence
from domain.time import trade_date
from domain.trading_states import enlarges
from storage import audit
from storage.audit import AuditEntry
from storage.database import Database
from storage.orders import change_requests, unfinished
from workflow_api import stories
from workflow_api.contracts import CHANGE, order_workflow_id
from workflow_api.results import Decision

ASK_SECONDS, LOOK_SECONDS = 5, 0.05


async def request_change(
    request: Request, order_id: int, user_id: int, terms: OrderTerms, filled: int, change: Change
) -> Decision:
    """Ask for a change of an order that stands so. Raises Problem when it may not be, or nobody answers."""
    state = request.app.state
    refusals = await _refusals(state, order_id, user_id, terms, filled, change)
    if refusals:
        raise refused(refusals)
    number = await change_requests.take_number(
        state.database, order_id, _entry(request, order_id, user_id, change)
    )
    if number is None:
        raise await _too_many(state.database, order_id)
    try:
        answer = await _ask(state.temporal, state.database, order_id, change, number)
    except WorkflowUpdateFailedError:
        raise refused([Refusal(RejectCode.ORDER_ALREADY_FINAL)]) from None
    except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, RuntimeError):
        # Nobody answers: whether it was taken is not known.
        detail = "The order's workflow does not answer; ask again."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise Problem(status, ProblemCode.ORDER_BUSY, detail, retryable=True) from None
    if answer.reject_code is not None:
        raise refused([answer.refusal or Refusal(RejectCode(answer.reject_code))])
    return answer


async def _refusals(
    state: Any, order_id: int, user_id: int, terms: OrderTerms, filled: int, change: Change
) -> list[Refusal]:
    """Everything that the order's row, the instrument and the desk have against the change."""
    instrument = state.judge.instrument(terms.instrument_id)
    if instrument is None:
        return [Refusal(RejectCode.INSTRUMENT_UNKNOWN)]
    under_way = await change_requests.under_way(state.database, order_id)
    changed = change.applied_to(terms)
    frozen = state.trading_states.refusal(
        user_id, changed, instrument.segment, enlarging=enlarges(terms, changed)
    )
    today = trade_date(time.time_ns())
    refusals = change_refusals(terms, change, filled, under_way.changes, instrument, today)
    return by_precedence([*refusals, *(one for one in (frozen, under_way.refusal) if one is not None)])


def _entry(request: Request, order_id: int, user_id: int, change: Change) -> AuditEntry:
    """The act as it is on record; not the order's own entry, for nothing has become of the order yet."""
    amounts = {"price": change.price, "trigger_price": change.trigger_price}
    wanted = {name: rupees(amount) for name, amount in amounts.items() if amount is not None}
    if change.quantity is not None:
        wanted["quantity"] = str(change.quantity)
    detail = {"order_id": str(order_id), **wanted}
    entry = AuditEntry(time.time_ns(), user_id, RecordEvent.CHANGE_REQUESTED, "client", detail=detail)
    return audit.coming_from(origin(request), entry)


async def _too_many(database: Database, order_id: int) -> Problem:
    """Why the request got no number."""
    exhausted = (await change_requests.under_way(database, order_id)).refusal
    if exhausted is not None:
        return refused([exhausted])
    most = change_requests.REQUESTS_A_SECOND
    detail = f"An order may be asked to change at most {most} times a second."
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(status, ProblemCode.TOO_MANY_REQUESTS, detail, retryable=True, retry_after=1)


async def _ask(temporal: Client, database: Database, order_id: int, change: Change, number: int) -> Decision:
    """The workflow's word; one that is not there yet is waited for, one that is lost begun again."""
    deadline = time.monotonic() + ASK_SECONDS
    handle = temporal.get_workflow_handle(order_workflow_id(order_id))
    while True:
        try:
            answer: Decision = await handle.execute_update(
                CHANGE,
                args=[change, number],
                result_type=Decision,
                rpc_timeout=timedelta(seconds=ASK_SECONDS),
            )
            return answer
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or time.monotonic() > deadline:
                raise
        if await unfinished.waits_in_intake(database, order_id):
            await asyncio.sleep(LOOK_SECONDS)
        elif not await stories.restart(temporal, database, order_id):
            raise refused([Refusal(RejectCode.ORDER_ALREADY_FINAL)])
