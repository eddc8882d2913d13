"""What each account may risk: dated rows, the house's for everyone and an account's own above them.

The gate reads them in its own statement (storage/risk/risk_gate.py); here they are written and shown. Called
by the seed and the risk desk (api/risk.py).
"""

from collections.abc import Iterable
from datetime import date

from psycopg.rows import DictRow

from domain.events import RecordEvent
from domain.money import rupees
from domain.risk_limits import RiskLimits
from storage import audit
from storage.audit import AuditEntry
from storage.database import Connection, Database
from storage.risk.trading_states import RiskAction

_ADD = """
    INSERT INTO risk_limits (user_id, effective_from, exposure_limit, position_limit, order_value_limit)
    VALUES (%s, %s, %s, %s, %s)
"""
_SET = f"""{_ADD}
    ON CONFLICT (user_id, effective_from) DO UPDATE SET exposure_limit = excluded.exposure_limit,
        position_limit = excluded.position_limit, order_value_limit = excluded.order_value_limit
"""
_IN_FORCE = """
    SELECT DISTINCT ON (r.user_id) client_id, effective_from, exposure_limit, position_limit,
           order_value_limit
    FROM risk_limits r LEFT JOIN users USING (user_id) WHERE effective_from <= %s
    ORDER BY r.user_id NULLS FIRST, effective_from DESC
"""


async def add_house_limits(conn: Connection, limits: Iterable[tuple[date, RiskLimits]]) -> None:
    """Rows that are there stay as they are."""
    for day, limit in limits:
        row = (None, day, limit.exposure, limit.position, limit.order_value)
        await conn.execute(f"{_ADD} ON CONFLICT DO NOTHING".encode(), row)


async def set_limits(conn: Connection, user_id: int, day: date, limits: RiskLimits, word: RiskAction) -> None:
    """An account's own limits from a day on."""
    await conn.execute(_SET.encode(), (user_id, day, limits.exposure, limits.position, limits.order_value))
    detail = {
        "effective_from": day.isoformat(),
        "exposure_limit": rupees(limits.exposure),
        "position_limit": limits.position,
        "order_value_limit": rupees(limits.order_value),
        "reason": word.reason,
    }
    entry = AuditEntry(word.at_ns, user_id, RecordEvent.LIMITS_SET, word.actor, detail=detail)
    await audit.append(conn, [audit.coming_from(word.origin, entry)])


async def in_force(database: Database, day: date) -> list[DictRow]:
    """The house's limits (client_id NULL) first, then every account's own."""
    async with database.reading() as conn:
        return await (await conn.execute(_IN_FORCE, (day,))).fetchall()
