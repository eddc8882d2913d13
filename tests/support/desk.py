"""The risk desk under a test's hand: states set and lifted for good, and what it was alerted of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.trading_states import Cause, Scope, TradingState
from storage import trading_states
from storage.database import Database
from storage.trading_states import Subject, Word

A_WORD = Word("RISK01", 0, "a test")


def user(user_id: int) -> Subject:
    return Subject(Scope.USER, f"TEST{user_id}", user_id)


@asynccontextmanager
async def frozen(
    database: Database,
    subject: Subject,
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


async def alerted(database: Database, user_id: int) -> list[str]:
    """Kinds of the risk alerts about an account, as they are on record."""
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT detail->>'kind' AS kind FROM audit_log WHERE user_id = %s AND event = 'RISK_ALERT'"
            " ORDER BY audit_id",
            (user_id,),
        )
        return [row["kind"] for row in await found.fetchall()]
