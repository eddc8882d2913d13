"""What each account's positions are worth at the last prices, and who has passed the exposure limit.

Whoever has goes to REDUCING, once, with an alert; only the risk desk lifts that. What counts at what is
said in domain/risk_limits.py. Called by the operations worker.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from domain.events import AlertKind
from domain.money import rupees
from domain.risk_limits import NOTHING
from domain.trading_states import Cause, Scope, TradingState
from storage.database import Connection, Database
from storage.risk import risk_alerts, trading_states
from storage.risk.risk_alerts import RiskAlert
from storage.risk.trading_states import RiskAction, StateTarget

ACTOR = "exposure-watch"
WRITTEN_AT = "COALESCE(u.previous_close, m.strike)"
"""What a unit of an option that is sold counts at: of master row m, whose underlying is u, its last close."""
POSITION_VALUE = f"CASE WHEN m.kind = 'OPTION' AND net < 0 THEN -net * {WRITTEN_AT} ELSE abs(open_cost) END"
NET = "(SELECT buy_quantity - sell_quantity AS net)"
UNDERLYING = "instruments u ON u.instrument_id = m.underlying"
_POSITIONS = f"""
    SELECT user_id, client_id, abs(net) AS quantity, l.exposure_limit,
           CASE WHEN m.kind = 'OPTION' AND net < 0 THEN m.underlying ELSE p.instrument_id END AS priced_by,
           {POSITION_VALUE} AS unpriced
    FROM positions p CROSS JOIN LATERAL {NET} n JOIN users USING (user_id)
    LEFT JOIN instruments m USING (instrument_id) LEFT JOIN {UNDERLYING}
    LEFT JOIN LATERAL (
        SELECT exposure_limit FROM risk_limits r
        WHERE (r.user_id = p.user_id OR r.user_id IS NULL) AND r.effective_from <= %s
        ORDER BY r.user_id NULLS LAST, r.effective_from DESC LIMIT 1) l ON true
    WHERE net <> 0
      AND NOT EXISTS (SELECT FROM trading_states s WHERE s.key = 'user:' || p.user_id
                      AND s.cause = 'LIMITS' AND s.state <> 'ACTIVE')
"""


@dataclass(frozen=True, slots=True)
class ExposedPosition:
    user_id: int
    client_id: str
    quantity: int
    exposure_limit: int | None
    """The account's, of the day."""
    priced_by: str | None
    """The instrument whose price values it; of an option sold, the underlying."""
    unpriced: int
    """Paise that it counts at while that price is not known: its cost, or its underlying's last close."""


async def open_positions(database: Database, day: date) -> list[ExposedPosition]:
    """Those of accounts that are not reduced already."""
    async with database.reading() as conn, conn.cursor(row_factory=class_row(ExposedPosition)) as cursor:
        return await (await cursor.execute(_POSITIONS.encode(), (day,))).fetchall()


def passed(
    positions: Iterable[ExposedPosition], prices: Mapping[str, int]
) -> dict[tuple[int, str], tuple[int, int]]:
    """Exposure and limit of each account above its limit."""
    exposures: dict[tuple[int, str], tuple[int, int]] = {}
    for position in positions:
        price = prices.get(position.priced_by or "")
        value = position.unpriced if price is None else position.quantity * price
        limit = NOTHING.exposure if position.exposure_limit is None else position.exposure_limit
        account = position.user_id, position.client_id
        exposures[account] = exposures.get(account, (0, 0))[0] + value, limit
    return {account: sums for account, sums in exposures.items() if sums[0] > sums[1]}


async def reduce(
    conn: Connection, user_id: int, client_id: str, exposure: int, limit: int
) -> RiskAlert | None:
    """Let the account only reduce from now on; None when it stands so already. Tell after the commit."""
    sentence = f"The exposure of Rs {rupees(exposure)} has passed the limit of Rs {rupees(limit)}."
    subject, word = StateTarget(Scope.USER, client_id, user_id), RiskAction(ACTOR, user_id, sentence)
    frozen = await trading_states.freeze(conn, subject, TradingState.REDUCING, Cause.LIMITS, word)
    if not frozen.changed:
        return None
    alert = RiskAlert(AlertKind.EXPOSURE_LIMIT_PASSED, sentence, user_id, {"client_id": client_id})
    await risk_alerts.record(conn, [alert], ACTOR)
    return alert
