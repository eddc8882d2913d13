"""The instrument master, the market's phase, and whether we are well."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from api.schemas import instrument_seen
from domain.time import rfc3339
from storage import order_reads

router = APIRouter(tags=["market"])


@router.get("/api/v1/instruments")
async def instruments(
    request: Request,
    q: Annotated[str, Query(max_length=40)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Instruments whose id or name contains `q`, exact symbols first."""
    wanted = q.strip().upper()
    found = [
        instrument
        for instrument in request.app.state.instruments.values()
        if wanted in instrument.instrument_id or wanted in instrument.name.upper()
    ]
    found.sort(key=lambda instrument: (instrument.symbol != wanted, instrument.instrument_id))
    return {"instruments": [instrument_seen(instrument) for instrument in found[:limit]]}


@router.get("/api/v1/market/status")
async def status(request: Request) -> dict[str, Any]:
    """The phase of each segment as its exchange announced it; a segment not listed is not known."""
    rows = await order_reads.market_phases(request.app.state.database)
    return {
        "segments": [
            {
                "exchange": row["exchange"],
                "segment": row["segment"],
                "phase": row["phase"],
                "since": rfc3339(row["since_ns"]),
            }
            for row in rows
        ]
    }


@router.get("/healthz", tags=["health"])
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"])
async def readyz(request: Request) -> dict[str, str]:
    """The process and what it stands on answer; 503 when the books do not."""
    async with request.app.state.database.reading() as conn:
        await conn.execute("SELECT 1")
    return {"status": "ready"}
