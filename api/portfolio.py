"""Holdings, positions and margins, as the books stand, at the last prices of the tick bus."""

import time
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from api import portfolio_responses as answers
from api.problems import Problem, documented
from api.session import ClientSession
from bus.last_prices import Quote
from domain.rejects import SENTENCES, RejectCode
from storage.books import queries

router = APIRouter(
    prefix="/api/v1/portfolio",
    tags=["portfolio"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("/holdings")
async def holdings(request: Request, session: ClientSession) -> answers.Holdings:
    """Delivery holdings with average cost and P&L."""
    rows = await _rows(request, session.user_id, "holdings")
    return answers.Holdings(holdings=[answers.PricedHolding.at(row, quote) for row, quote in rows])


@router.get("/positions")
async def positions(request: Request, session: ClientSession) -> answers.Positions:
    """Intraday and derivatives positions with P&L, those closed today too."""
    rows = await _rows(request, session.user_id, "positions")
    return answers.Positions(positions=[answers.PricedPosition.at(row, quote) for row, quote in rows])


@router.get("/margins", responses=documented(HTTPStatus.NOT_FOUND))
async def margins(request: Request, session: ClientSession) -> answers.Margins:
    """Available, used, blocked and exposure margin, in rupees."""
    row = await _read(request, session.user_id)
    if row is None:
        code = RejectCode.ACCOUNT_UNKNOWN
        raise Problem(HTTPStatus.NOT_FOUND, code, SENTENCES[code])
    return answers.Margins.of(row)


async def _rows(request: Request, user_id: int, part: str) -> list[tuple[dict[str, Any], Quote | None]]:
    """Each row of this part with its instrument's quote; none for a user without an account."""
    state, found = request.app.state, await _read(request, user_id)
    rows = found[part] if found else []
    quotes = await state.last_prices.quotes([state.instruments[row["instrument_id"]] for row in rows])
    return list(zip(rows, quotes, strict=True))


async def _read(request: Request, user_id: int) -> dict[str, Any] | None:
    """The books, with all that the client has been told."""
    state = request.app.state
    await state.keeping.catch_up([user_id])
    return await queries.read(state.database, user_id, time.time_ns())
