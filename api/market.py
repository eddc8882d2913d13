"""The instrument master, candles, the market's phase, and whether we are well."""

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from api import responses
from api.listing import Listing
from api.market_responses import Candle, Candles, Instruments, MarketStatus, SegmentStatus
from api.problems import documented, refused
from domain.rejects import Refusal, RejectCode
from domain.time import nanoseconds, rfc3339, trade_date
from storage.market import candles as candle_reads
from storage.orders import queries

router = APIRouter(tags=["market"])


@router.get("/api/v1/instruments", response_model=Instruments)
async def instruments(
    request: Request,
    q: Annotated[str, Query(max_length=40)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Instruments whose id or name contains `q`, exact symbols first."""
    listing: Listing = request.app.state.listing
    return Response(listing.found(q, limit, trade_date(time.time_ns())), media_type="application/json")


@router.get("/api/v1/market/candles", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def candles(
    request: Request,
    instrument_id: Annotated[str, Query(max_length=30)],
    begin: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to")],
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Candles:
    """One-minute candles of minutes that begin from `from` on and before `to`, oldest first.

    A minute without a trade has none; the current one still grows. With `has_more`, go on from `next_from`.
    """
    if instrument_id not in request.app.state.instruments:
        raise refused([Refusal(RejectCode.INSTRUMENT_UNKNOWN, "instrument_id")])
    database = request.app.state.database
    rows = await candle_reads.read(database, instrument_id, nanoseconds(begin), nanoseconds(end), limit + 1)
    following = rows[limit]["minute_ns"] if len(rows) > limit else None
    return Candles(
        instrument_id=instrument_id,
        candles=[Candle.of(row) for row in rows[:limit]],
        has_more=following is not None,
        next_from=None if following is None else rfc3339(following),
    )


@router.get("/api/v1/market/status", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def status(request: Request) -> MarketStatus:
    """The phase of each session class as its exchange announced it; what is not listed is not known.

    `scheduled_phase` and `next_change` are by the rules; an exchange without hours is not bound by them.
    """
    rows = await queries.market_phases(request.app.state.database)
    rules, now_ns = request.app.state.session_rules, time.time_ns()
    return MarketStatus(segments=[SegmentStatus.of(row, rules, now_ns) for row in rows])


@router.get("/healthz", tags=["health"])
@router.head("/healthz", tags=["health"], operation_id="healthz_head")
async def healthz() -> responses.Health:
    """The process answers."""
    return responses.Health(status="ok")


@router.get("/readyz", tags=["health"], responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
@router.head(
    "/readyz",
    tags=["health"],
    operation_id="readyz_head",
    responses=documented(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(request: Request) -> responses.Health:
    """The process and what it stands on answer; 503 when the books do not."""
    await request.app.state.database.ping()
    return responses.Health(status="ready")
