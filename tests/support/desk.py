"""The risk desk under a test's hand: states set and lifted for good, and what it was alerted of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from domain.trading_states import Cause, Scope, TradingState
from storage.database import Database
from storage.risk import trading_states
from storage.risk.trading_states import RiskAction, StateTarget

A_WORD = RiskAction("RISK01", 0, "a test")


def user(user_id: int) -> StateTarget:
    return StateTarget(Scope.USER, f"TEST{user_id}", user_id)


@asynccontextmanager
async def frozen(
    database: Database,
    subject: StateTarget,
    state: TradingState = TradingState.HALTED,
    cause: Cause = Cause.DESK,
) -> AsyncIterator[None]:
    """In force inside the context; the servers are shared, so nothing may stay frozen."""
    async with database.transaction() as conn:
        await trading_states.freeze(conn, subject, state, cause, A_WORD)
    try:
        yield
    finally:
        async with database.transaction() as conn:
            await trading_states.unfreeze(conn, subject, [cause], A_WORD)


async def lift(first: httpx.AsyncClient, second: httpx.AsyncClient, about: dict[str, Any]) -> httpx.Response:
    """Unfreeze as one person of the desk, and where that only asks, as another."""
    answer = await first.post("/api/v1/risk/unfreeze", json=about)
    return await second.post("/api/v1/risk/unfreeze", json=about) if answer.status_code == 202 else answer


async def lift_everything(first: httpx.AsyncClient, second: httpx.AsyncClient) -> None:
    """Two people lift what is frozen, when a test is over, whoever of them has asked for it already."""
    for state in (await first.get("/api/v1/risk/states")).json()["states"]:
        about = {"scope": state["scope"], "id": state["id"] or None, "reason": "the test is over"}
        await first.post("/api/v1/risk/unfreeze", json=about)
        await second.post("/api/v1/risk/unfreeze", json=about)
    assert (await first.get("/api/v1/risk/states")).json()["states"] == []


async def alerted(database: Database, user_id: int) -> list[str]:
    """Kinds of the risk alerts about an account, as they are on record."""
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT detail->>'kind' AS kind FROM audit_log WHERE user_id = %s AND event = 'RISK_ALERT'"
            " ORDER BY audit_id",
            (user_id,),
        )
        return [row["kind"] for row in await found.fetchall()]
