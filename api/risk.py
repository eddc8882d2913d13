"""The risk desk: freeze and unfreeze, see what is frozen, and set what an account may risk.

What stops everything or a segment is released by two people: the first unfreeze asks (202), another person's
confirms. A freeze is committed before its answer, and effective with the commit
(storage/journals/frozen_outbox.py). Cancelling what is pending and closing positions is a workflow of its
own, named in the answer.
"""

import time
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from temporalio.service import RPCError

from api import risk_responses as answers
from api.body import read_body
from api.openapi import described
from api.origin import origin
from api.problems import Problem, ProblemCode, documented
from api.requests import Freeze, SetLimits, Unfreeze
from api.session import RiskDesk
from bus import wakeups
from config.tokens import Session
from domain.risk_limits import RiskLimits
from domain.time import NANOS, rfc3339, trade_date
from domain.trading_states import TWO_PERSONS, Cause, Scope
from domain.wind_down import Selection, WindDown
from storage.orders.cancellations import CancelledBy
from storage.risk import releases, risk_alerts, risk_limits, trading_states, wind_downs
from storage.risk.releases import Release, SecondPersonRequired
from storage.risk.risk_alerts import RiskAlert
from storage.risk.trading_states import HaltStands, RiskAction, StateTarget
from storage.users import find_user
from workflow_api.contracts import OPERATIONS_QUEUE, WIND_DOWN_WORKFLOW, wind_down_id

START_SECONDS = 5
ClientId = Annotated[str, Path(pattern=r"^[A-Z0-9]{1,20}$")]
_WRITES = documented(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_ASKED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.ACCEPTED.value: {"model": answers.Unfrozen, "description": "Another person must confirm"},
    **documented(HTTPStatus.CONFLICT),
}
router = APIRouter(
    prefix="/api/v1/risk",
    tags=["risk"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.post("/freeze", openapi_extra=described(Freeze), responses=_WRITES | documented(HTTPStatus.CONFLICT))
async def freeze(request: Request, desk: RiskDesk) -> answers.Frozen:
    """Stop new orders, withdraw those in the outbox; on request cancel what is pending, close positions."""
    asked = await read_body(request, Freeze)
    subject = await _subject(request, asked.scope, asked.id)
    word = _word(request, desk, asked.reason)
    try:
        async with request.app.state.database.transaction() as conn:
            frozen = await trading_states.freeze(conn, subject, asked.state, Cause.DESK, word)
    except HaltStands:
        detail = "It is halted; what lets orders pass again is a release, by two people."
        raise Problem(HTTPStatus.CONFLICT, ProblemCode.HALT_STANDS, detail) from None
    await _tell(request, frozen.alerts)
    wind_down = None
    if asked.cancel_pending or asked.flatten:
        selection = _selection(subject)
        await _cancel_pending(request, selection, word)
        wind_down = await _wind_down(request, subject, selection, asked, word)
    return answers.Frozen(
        scope=subject.scope,
        id=subject.scope_id,
        state=asked.state,
        changed=frozen.changed,
        timestamp=rfc3339(word.at_ns),
        wind_down=wind_down,
    )


@router.post("/unfreeze", openapi_extra=described(Unfreeze), responses=_WRITES | _ASKED)
async def unfreeze(request: Request, response: Response, desk: RiskDesk) -> answers.Unfrozen:
    """Lift what the desk or a passed limit has frozen; a market-wide halt is the exchange's to lift.

    Of all or a segment: 202, another person of the desk must ask the same by `release.until`; 200, lifted.
    """
    asked = await read_body(request, Unfreeze)
    subject = await _subject(request, asked.scope, asked.id)
    done = await _release(request, subject, _word(request, desk, asked.reason))
    asks = None
    if done.asked is not None:
        response.status_code = HTTPStatus.ACCEPTED
        asks = answers.Asked(asked_by=done.asked.asker, until=rfc3339(done.asked.until_ns))
    return answers.Unfrozen(
        scope=subject.scope,
        id=subject.scope_id,
        lifted=done.lifted,
        timestamp=rfc3339(time.time_ns()),
        release=asks,
    )


async def _release(request: Request, subject: StateTarget, word: RiskAction) -> Release:
    """Lifted or asked for, and told. Raises Problem when the same person would confirm."""
    causes, within_ns = (Cause.DESK, Cause.LIMITS), request.app.state.settings.release_minutes * 60 * NANOS
    try:
        async with request.app.state.database.transaction() as conn:
            if subject.scope in TWO_PERSONS:
                done = await releases.release(conn, subject, causes, word, within_ns)
            else:
                done = Release(await trading_states.unfreeze(conn, subject, causes, word), None, [])
    except SecondPersonRequired as refusal:
        status, code = HTTPStatus.CONFLICT, ProblemCode.SECOND_PERSON_REQUIRED
        raise Problem(status, code, str(refusal)) from None
    await _tell(request, done.alerts)
    return done


@router.get("/states")
async def states(request: Request, _desk: RiskDesk) -> answers.States:
    """Everything that is frozen now."""
    rows = await trading_states.in_force(request.app.state.database)
    return answers.States(states=[answers.State.of(row) for row in rows])


@router.get("/limits")
async def limits(request: Request, _desk: RiskDesk) -> answers.AllLimits:
    """The house's limits, then every account's own."""
    rows = await risk_limits.in_force(request.app.state.database, trade_date(time.time_ns()))
    return answers.AllLimits(limits=[answers.Limits.of(row) for row in rows])


@router.put("/limits/{client_id}", openapi_extra=described(SetLimits), responses=_WRITES)
async def set_limits(request: Request, desk: RiskDesk, client_id: ClientId) -> answers.Limits:
    """Give an account limits of its own, from today on."""
    asked = await read_body(request, SetLimits)
    subject = await _subject(request, Scope.USER, client_id, field="client_id")
    assert subject.user_id is not None
    word = _word(request, desk, asked.reason)
    day = trade_date(word.at_ns)
    own = RiskLimits(asked.exposure_limit, asked.position_limit, asked.order_value_limit)
    async with request.app.state.database.transaction() as conn:
        await risk_limits.set_limits(conn, subject.user_id, day, own, word)
    await wakeups.wake(request.app.state.redis, wakeups.RISK_LIMITS)
    row = {
        "client_id": client_id,
        "effective_from": day,
        "exposure_limit": own.exposure,
        "position_limit": own.position,
        "order_value_limit": own.order_value,
    }
    return answers.Limits.of(row)


async def _subject(request: Request, scope: Scope, asked: str | None, field: str = "id") -> StateTarget:
    """What a state is to be about. Raises Problem when there is no such thing."""
    instruments = request.app.state.instruments
    if scope is Scope.USER:
        user = await find_user(request.app.state.database, asked or "")
        if user is not None:
            return StateTarget(scope, user.client_id, user.user_id)
    known: dict[Scope, set[str | None]] = {
        Scope.ALL: {None},
        Scope.SEGMENT: {f"{i.exchange}:{i.segment}" for i in instruments.values()},
        Scope.INSTRUMENT: set(instruments),
    }
    if asked in known.get(scope, ()):
        return StateTarget(scope, asked or "")
    detail = f"There is no such {scope}." if scope is not Scope.ALL else "Of all there is no id."
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    raise Problem(status, ProblemCode.SUBJECT_UNKNOWN, detail, field=field)


def _word(request: Request, desk: Session, reason: str) -> RiskAction:
    return RiskAction(desk.client_id, desk.user_id, reason, origin(request))


async def _tell(request: Request, alerts: list[RiskAlert]) -> None:
    await trading_states.tell(request.app.state.redis, request.app.state.settings.exchanges)
    await risk_alerts.tell(request.app.state.redis, alerts)


def _selection(subject: StateTarget) -> Selection:
    exchange, _, segment = subject.scope_id.partition(":")
    return Selection(
        user_id=subject.user_id,
        instrument_id=subject.scope_id if subject.scope is Scope.INSTRUMENT else None,
        exchange=exchange if subject.scope is Scope.SEGMENT else None,
        segment=segment if subject.scope is Scope.SEGMENT else None,
    )


async def _cancel_pending(request: Request, selection: Selection, word: RiskAction) -> None:
    """Take back what is pending now, Temporal or not; the wind-down looks after what is left."""
    state = request.app.state
    pending = await wind_downs.pending_orders(state.database, selection)
    by = CancelledBy(word.actor, word.reason, word.origin)
    await state.canceller.cancel([one.order_id for one in pending if not one.cancel_requested], by)


async def _wind_down(
    request: Request, subject: StateTarget, selection: Selection, asked: Freeze, word: RiskAction
) -> str:
    """Start the workflow; the freeze itself stands already, and what was pending is cancelled."""
    name = wind_down_id(subject.key, word.at_ns)
    order = WindDown(selection, name, word.actor, word.reason, asked.flatten)
    about = subject.scope_id or "all"
    try:
        await request.app.state.operations.start_workflow(
            WIND_DOWN_WORKFLOW,
            order,
            id=name,
            task_queue=OPERATIONS_QUEUE,
            static_summary=f"{asked.state} {about}: {word.reason}"[:200],
            rpc_timeout=timedelta(seconds=START_SECONDS),
        )
    except (RPCError, RuntimeError):
        detail = "The freeze stands and cancels are asked for, but nothing closes or looks on: ask again."
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise Problem(status, ProblemCode.WIND_DOWN_NOT_STARTED, detail, retryable=True) from None
    return name
