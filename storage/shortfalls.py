"""Accounts that a bust or correction leaves short: bound for more than they have.

No gate stands before the exchange's own word. The books take it as it is, and the risk desk is told, once for
each booking that brings an account below zero or further below. In the booking's transaction
(storage/books.py), whose ledger locks make the figures its own.
"""

from collections.abc import Collection, Mapping, Sequence

from domain.money import rupees
from storage import risk_alerts
from storage.database import Connection
from storage.risk_alerts import RiskAlert

ACTOR = "booking"
_AVAILABLE = """
    SELECT user_id, client_id, available_cash FROM margin_ledger JOIN users USING (user_id)
    WHERE user_id = ANY(%s)
"""


async def available(conn: Connection, user_ids: Collection[int]) -> dict[int, int]:
    """Available cash of these accounts, in paise."""
    if not user_ids:
        return {}
    found = await conn.execute(_AVAILABLE, (list(user_ids),))
    return {row["user_id"]: row["available_cash"] for row in await found.fetchall()}


async def warn(
    conn: Connection, before: Mapping[int, int], undone: Mapping[int, Sequence[str]]
) -> list[RiskAlert]:
    """An alert for each account that is short now and had more `before`; `undone` are its trades. Tell after
    the commit.
    """
    if not before:
        return []
    found = await conn.execute(_AVAILABLE, (list(before),))
    alerts = [
        RiskAlert(
            "MARGIN_SHORTFALL",
            f"The account is Rs {rupees(-row['available_cash'])} short since the exchange took back or "
            f"corrected {', '.join(undone[row['user_id']])}.",
            row["user_id"],
            {"client_id": row["client_id"], "available_cash": rupees(row["available_cash"])},
        )
        for row in await found.fetchall()
        if row["available_cash"] < min(before[row["user_id"]], 0)
    ]
    await risk_alerts.record(conn, alerts, ACTOR)
    return alerts
