"""Reconciliation: margin views against the ledger, the books against their own invariants; drift is rebuilt.

A view that was off by more than ALERT_ABOVE, and any broken invariant, is an alert. Called by the
reconciliation workflow every 30 seconds.
"""

import time
from dataclasses import dataclass, field

from redis.asyncio import Redis
from temporalio import activity

from domain.money import PAISE_PER_RUPEE
from storage import reconciliation, risk_alerts
from storage.database import Database
from storage.reconciliation import Drift
from storage.risk_alerts import RiskAlert

ALERT_ABOVE = 100 * PAISE_PER_RUPEE
ACTOR = "reconciliation"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one pass found."""

    sentence: str
    accounts: int
    rebuilt: list[int]
    """Users whose view was wrong."""
    time_ns: int
    alerts: list[str] = field(default_factory=list)


class Reconciliation:
    def __init__(self, database: Database, redis: Redis) -> None:
        self._database, self._redis = database, redis

    @activity.defn(name="reconcile")
    async def reconcile(self) -> Reconciled:
        """Every account with a margin view, and the books."""
        accounts, suspects = await reconciliation.accounts(self._database, self._redis)
        found = [await reconciliation.mend(self._database, self._redis, user_id) for user_id in suspects]
        drifts = [drift for drift in found if drift is not None]
        broken = await reconciliation.broken_books(self._database)
        alerts = [_drifted(drift) for drift in drifts if drift.amount > ALERT_ABOVE]
        alerts += [RiskAlert("BOOKS_BROKEN", sentence, user_id) for user_id, sentence in broken]
        if alerts:
            async with self._database.transaction() as conn:
                await risk_alerts.record(conn, alerts, ACTOR)
            await risk_alerts.tell(self._redis, alerts)
        return Reconciled(
            _said(accounts, drifts, broken),
            accounts,
            [drift.user_id for drift in drifts],
            time.time_ns(),
            [alert.sentence for alert in alerts],
        )


def _drifted(drift: Drift) -> RiskAlert:
    return RiskAlert("MARGIN_DRIFT", drift.sentence, drift.user_id)


def _said(accounts: int, drifts: list[Drift], broken: list[tuple[int, str]]) -> str:
    views = (
        f"{len(drifts)} views were wrong and are rebuilt" if drifts else "every view agrees with the ledger"
    )
    books = f"; {len(broken)} books do not hold" if broken else "; the books hold"
    return f"{accounts} accounts: {views}{books}."
