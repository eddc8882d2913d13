"""Orders: placed durably, read back at once, changed by asking their workflow, cancelled in the journals.

`POST` answers 202 when the order is on disk; whatever no later state could mend is refused before that.
"""

import hashlib
import time
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from api import responses
from api.body import read_body
from api.dry_run import Asked, DryRun, dry_run
from api.openapi import described
from api.origin import origin
from api.problems import Problem, ProblemCode, documented, refused
from api.requests import INSTRUMENT_ID, ChangeOrder, PlaceOrder
from api.session import ClientSession
from api.workflow_client import request_change
from config.tokens import Session
from domain.orders import OrderStatus, OrderTerms, OrderType, Product, Side, Validity
from domain.rejects import Refusal, RejectCode
from domain.slicing import slices
from domain.time import rfc3339, trade_date
from domain.validation import PRICED, terms_refusals
from storage.journals.order_requests import Acknowledgement, IdempotencyConflict, OrderRequest, OrdersRefused
from storage.orders import parents, queries
from storage.orders.cancellations import CancelledBy

router = APIRouter(
    prefix="/api/v1/orders",
    tags=["orders"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
)
OrderId = Annotated[str, Path(pattern=r"^[0-9]{15}$")]
REPLAYED = "Idempotent-Replayed"
_PLACED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK.value: {"model": DryRun, "description": "Of a dry run: what the order would meet"},
    HTTPStatus.ACCEPTED.value: {
        "headers": {
            REPLAYED: {"schema": {"const": "true"}, "description": "the first answer to this key, again"}
        }
    },
    **documented(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=responses.Acknowledged,
    response_model_exclude_none=True,
    openapi_extra=described(PlaceOrder),
    responses=_PLACED,
)
async def place(
    request: Request, response: Response, session: ClientSession, trial: Asked = False
) -> responses.Acknowledged | Response:
    """Place an order. The same key with the same body answers as the first time."""
    received_at_ns = time.time_ns()
    asked = await read_body(request, PlaceOrder)
    terms, state = asked.terms, request.app.state
    if trial:
        met = await dry_run(state, session.user_id, terms, sliced=asked.auto_slice)
        return Response(met.model_dump_json(), HTTPStatus.OK, media_type="application/json")
    come = origin(request)
    order = OrderRequest(
        user_id=session.user_id,
        key=asked.idempotency_key,
        body_hash=_hash(asked),
        terms=terms,
        received_at_ns=received_at_ns,
        tag=asked.tag,
        client_ip=come.client_ip,
        device=come.device,
        traceparent=come.traceparent,
    )
    try:
        acknowledged = await _acknowledge(state, order, sliced=asked.auto_slice)
    except IdempotencyConflict as conflict:
        detail = "This idempotency key was used before, with another body."
        status, code = HTTPStatus.UNPROCESSABLE_ENTITY, ProblemCode.IDEMPOTENCY_KEY_REUSED
        first = str(conflict.order_id)
        raise Problem(status, code, detail, field="idempotency_key", order_id=first) from None
    except OrdersRefused as full:
        raise refused([full.refusal]) from None
    if acknowledged.replayed:
        response.headers[REPLAYED] = "true"
    return responses.Acknowledged(
        order_id=str(acknowledged.order_id),
        status=OrderStatus.PENDING_VALIDATION,
        timestamp=rfc3339(acknowledged.accepted_at_ns),
        children=[str(order_id) for order_id in acknowledged.children] or None,
    )


async def _acknowledge(state: Any, order: OrderRequest, *, sliced: bool) -> Acknowledgement:
    """Make the order durable, unless a gate that no later state could mend refuses it.

    A key that was used is answered before any gate, since each may have changed meanwhile. New keys pay
    nothing for that: only an order that would be refused is looked up first, the intake's unique key decides
    about the others. Raises Problem or IdempotencyConflict.
    """
    terms, instrument = order.terms, state.judge.instrument(order.terms.instrument_id)
    refusals = terms_refusals(terms, instrument, trade_date(order.received_at_ns), sliced=sliced)
    if instrument is not None:
        frozen = state.trading_states.refusal(order.user_id, terms, instrument.segment)
        refusals = [frozen, *refusals] if frozen else refusals
    if refusals or instrument is None:
        first: Acknowledgement | None = await state.intake.first_answer(order)
        if first is None:
            raise refused(refusals)
        return first
    if sliced and terms.quantity > instrument.freeze_quantity:
        whole: Acknowledgement = await state.sliced_intake.accept(order, slices(terms.quantity, instrument))
        return whole
    single: Acknowledgement = await state.intake.accept(order)
    return single


@router.get("")
async def orders(
    request: Request,
    session: ClientSession,
    status: OrderStatus | None = None,
    instrument_id: Annotated[str | None, Query(max_length=30, pattern=INSTRUMENT_ID)] = None,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{15}$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> responses.Orders:
    """Orders of today, newest first: placed today, still alive whatever day they were placed, or come to
    their end today. `next_cursor` continues."""
    rows = await queries.list_orders(
        request.app.state.database,
        session.user_id,
        today=trade_date(time.time_ns()),
        before_id=int(cursor) if cursor else None,
        status=status,
        instrument_id=instrument_id,
        limit=limit,
    )
    more = len(rows) > limit
    seen = [responses.Order.of(row) for row in rows[:limit]]
    return responses.Orders(orders=seen, has_more=more, next_cursor=seen[-1].order_id if more else None)


@router.get("/{order_id}", responses=documented(HTTPStatus.NOT_FOUND))
async def order(request: Request, session: ClientSession, order_id: OrderId) -> responses.OrderDetail:
    """One order with its execution history."""
    row = await _order(request, session, order_id)
    ids = [one["order_id"] for one in row.get("children", [row])]
    history = await queries.order_history(request.app.state.database, session.user_id, ids)
    return responses.OrderDetail.of_order(row, history)


@router.put(
    "/{order_id}",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=described(ChangeOrder),
    responses=documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def change(request: Request, session: ClientSession, order_id: OrderId) -> responses.ChangeAsked:
    """Change quantity, price or trigger. 202: asked; until the exchange answers the order is as it was."""
    asked = await read_body(request, ChangeOrder)
    row = await _open_order(request, session, order_id)
    if "children" in row:
        raise refused([Refusal(RejectCode.ORDER_IS_SLICED)])
    filled = row["filled_quantity"]
    answer = await request_change(request, int(order_id), session.user_id, _terms(row), filled, asked.change)
    return responses.ChangeAsked(order_id=order_id, status=row["status"], detail=answer.sentence)


@router.delete(
    "/{order_id}",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def cancel(request: Request, session: ClientSession, order_id: OrderId) -> responses.ChangeAsked:
    """Take an order back; of a sliced order, every slice that is open. 202: it has ended, where it had not
    left, or the exchange is asked, which decides; what became of it follows as an order update."""
    row = await _open_order(request, session, order_id)
    still = [r["order_id"] for r in row.get("children", [row]) if not OrderStatus(r["status"]).is_final]
    by = CancelledBy("client", origin=origin(request))
    outcomes = list((await request.app.state.canceller.cancel(still, by)).values())
    refusals = [outcome.refusal for outcome in outcomes if outcome.refusal is not None]
    if len(refusals) == len(outcomes):
        raise refused(refusals[:1])
    if "children" in row:
        detail = f"{len(outcomes) - len(refusals)} open slices are cancelled or asked to cancel."
        return responses.ChangeAsked(order_id=order_id, status=row["status"], detail=detail)
    (outcome,) = outcomes
    return responses.ChangeAsked(order_id=order_id, status=outcome.status, detail=outcome.sentence)


async def _order(request: Request, session: Session, order_id: str) -> dict[str, Any]:
    """The order's row; a sliced one has `children`."""
    whose = (request.app.state.database, session.user_id, int(order_id))
    row = await queries.find_order(*whose) or await parents.find_whole(*whose)
    if row is None:
        raise Problem(HTTPStatus.NOT_FOUND, ProblemCode.ORDER_UNKNOWN, "You have no such order.")
    return row


async def _open_order(request: Request, session: Session, order_id: str) -> dict[str, Any]:
    row = await _order(request, session, order_id)
    if OrderStatus(row["status"]).is_final:
        raise refused([Refusal(RejectCode.ORDER_ALREADY_FINAL)])
    return row


def _terms(row: dict[str, Any]) -> OrderTerms:
    """As the order stands; an unpriced order has no price, whatever the exchange made of it."""
    order_type = OrderType(row["order_type"])
    return OrderTerms(
        row["instrument_id"],
        order_type,
        Side(row["transaction_type"]),
        Product(row["product"]),
        Validity(row["validity"]),
        row["quantity"],
        row["price"] if order_type in PRICED else None,
        row["trigger_price"],
        row["market_protection"],
    )


def _hash(asked: PlaceOrder) -> bytes:
    """Of what was meant, not of how it was written: 2450.5 and "2450.50" are the same body."""
    sliced = (True,) if asked.auto_slice else ()
    return hashlib.sha256(msgspec.json.encode((asked.terms, asked.tag, *sliced))).digest()
