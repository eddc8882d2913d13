"""What each account's positions are worth at the last prices, and who has passed the exposure limit.

Whoever has goes to REDUCING, once, with an alert; only the risk desk lifts that. Called by the operations
worker.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from domain.money import rupees
from domain.risk_limits import NOTHING
from domain.trading_states import Cause, Scope, TradingState
from storage import risk_alerts, trading_states
from storage.database import Connection, Database
from storage.risk_alerts import RiskAlert
from storage.trading_states import Subject, Word

ACTOR = "exposure-watch"
_POSITIONS = """
    SELECT user_id, client_id, instrument_id, abs(buy_quantity - sell_quantity) AS quantity,
           abs(open_cost) AS cost, l.exposure_limit
    FROM positions p JOIN users USING (user_id)
    LEFT JOIN LATERAL (
        SELECT exposure_limit FROM risk_limits r
        WHERE (r.user_id = p.user_id OR r.user_id IS NULL) AND r.effective_from <= %s
        ORDER BY r.user_id NULLS LAST, r.effective_from DESC LIMIT 1) l ON true
    WHERE buy_quantity <> sell_quantity
      AND NOT EXISTS (SELECT FROM trading_states s WHERE s.key = 'user:' || p.user_id
                      AND s.cause = 'LIMITS' AND s.state <> 'ACTIVE')
"""


async def open_positions(database: Database, day: date) -> list[dict[str, Any]]:
    """Of accounts that are not reduced already, each with its account's limit of the day."""
    async with database.reading() as conn:
        return await (await conn.execute(_POSITIONS, (day,))).fetchall()


def passed(rows: list[dict[str, Any]], prices: Mapping[str, int]) -> dict[tuple[int, str], tuple[int, int]]:
    """Exposure and limit of each account above its limit; a position without a price counts at its cost."""
    exposures: dict[tuple[int, str], tuple[int, int]] = {}
    for row in rows:
        price = prices.get(row["instrument_id"])
        value = row["cost"] if price is None else row["quantity"] * price
        limit = row["exposure_limit"] if row["exposure_limit"] is not None else NOTHING.exposure
        account = row["user_id"], row["client_id"]
        exposures[account] = exposures.get(account, (0, 0))[0] + value, limit
    return {account: sums for account, sums in exposures.items() if sums[0] > sums[1]}


async def reduce(
    conn: Connection, user_id: int, client_id: str, exposure: int, limit: int
) -> RiskAlert | None:
    """Let the account only reduce from now on; None when it stands so already. Tell after the commit."""
    sentence = f"The exposure of Rs {rupees(exposure)} has passed the limit of Rs {rupees(limit)}."
    subject, word = Subject(Scope.USER, client_id, user_id), Word(ACTOR, user_id, sentence)
    if not await trading_states.freeze(conn, subject, TradingState.REDUCING, Cause.LIMITS, word):
        return None
    alert = RiskAlert("EXPOSURE_LIMIT_PASSED", sentence, user_id, {"client_id": client_id})
    await risk_alerts.record(conn, [alert], ACTOR)
    return alert
