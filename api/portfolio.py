"""Holdings, positions and margins, as the books stand."""

from http import HTTPStatus

from fastapi import APIRouter, Request

from api import answers
from api.problems import Problem, documented
from api.session import SignedIn
from domain.rejects import SENTENCES, RejectCode
from storage import order_reads

router = APIRouter(
    prefix="/api/v1/portfolio",
    tags=["portfolio"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.get("/holdings")
async def holdings(request: Request, session: SignedIn) -> answers.Holdings:
    """Delivery holdings with average cost."""
    rows = await order_reads.holdings(request.app.state.database, session.user_id)
    return answers.Holdings(holdings=[answers.Holding.of(row) for row in rows])


@router.get("/positions")
async def positions(request: Request, session: SignedIn) -> answers.Positions:
    """Intraday and derivatives positions of the day."""
    rows = await order_reads.positions(request.app.state.database, session.user_id)
    return answers.Positions(positions=[answers.Position.of(row) for row in rows])


@router.get("/margins", responses=documented(HTTPStatus.NOT_FOUND))
async def margins(request: Request, session: SignedIn) -> answers.Margins:
    """Available, used, blocked and exposure margin, in rupees."""
    row = await order_reads.margins(request.app.state.database, session.user_id)
    if row is None:
        code = RejectCode.ACCOUNT_UNKNOWN
        raise Problem(HTTPStatus.NOT_FOUND, code, SENTENCES[code])
    return answers.Margins.of(row)
