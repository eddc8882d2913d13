"""Holdings, positions and margins, as the books stand."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from api.problems import Problem
from api.schemas import holding_seen, margins_seen, position_seen
from api.session import SignedIn
from domain.rejects import SENTENCES, RejectCode
from storage import order_reads

router = APIRouter(prefix="/api/v1/portfolio", tags=["portfolio"])


@router.get("/holdings")
async def holdings(request: Request, session: SignedIn) -> dict[str, Any]:
    """Delivery holdings with average cost."""
    rows = await order_reads.holdings(request.app.state.database, session.user_id)
    return {"holdings": [holding_seen(row) for row in rows]}


@router.get("/positions")
async def positions(request: Request, session: SignedIn) -> dict[str, Any]:
    """Intraday and derivatives positions of the day."""
    rows = await order_reads.positions(request.app.state.database, session.user_id)
    return {"positions": [position_seen(row) for row in rows]}


@router.get("/margins")
async def margins(request: Request, session: SignedIn) -> dict[str, Any]:
    """Available, used, blocked and exposure margin, in rupees."""
    row = await order_reads.margins(request.app.state.database, session.user_id)
    if row is None:
        code = RejectCode.ACCOUNT_UNKNOWN
        raise Problem(HTTPStatus.NOT_FOUND, code, SENTENCES[code])
    return margins_seen(row)
