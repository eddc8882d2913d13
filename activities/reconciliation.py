"""Reconciliation: views against the ledger, the books against themselves, holds against the exchange.

A drifted view is rebuilt; the books are never mended here. A view that was off by more than ALERT_ABOVE, and
whatever else is wrong, is an alert. Called by the reconciliation workflow every 30 seconds.
"""

import asyncio
import time
from dataclasses import dataclass, field

from redis.asyncio import Redis
from temporalio import activity

from domain.events import AlertKind
from domain.money import PAISE_PER_RUPEE
from storage import reconciliation
from storage.books import holds_at_exchange
from storage.database import Database
from storage.journals import report_ages
from storage.margin.derivatives import DerivativeMargins
from storage.reconciliation import LOOK_SECONDS, LOOKS, Drift
from storage.risk import risk_alerts
from storage.risk.risk_alerts import Finding, RiskAlert

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
    trades: list[str] = field(default_factory=list)
    """Of exchanges that have closed: how our trades compare with their files."""


class Reconciliation:
    def __init__(
        self, database: Database, redis: Redis, portfolios: DerivativeMargins, intraday_percent: int
    ) -> None:
        self._database, self._redis, self._portfolios = database, redis, portfolios
        self._intraday_percent = intraday_percent
        self._known: set[Finding] = set()
        """What was alerted and stays: each is told once."""
        self._margined_up_to = 0
        """Of very many portfolios each pass takes the next."""

    @activity.defn(name="reconcile")
    async def reconcile(self) -> Reconciled:
        """The next portfolios of derivatives, every account with a margin view, the books, and the holds."""
        after = self._margined_up_to
        remargined = await reconciliation.remargin(self._database, self._portfolios, after)
        self._margined_up_to = remargined.last
        accounts, suspects = await reconciliation.accounts(self._database, self._redis)
        found = [await reconciliation.mend(self._database, self._redis, user_id) for user_id in suspects]
        drifts = [drift for drift in found if drift is not None]
        broken = remargined.wrong + await reconciliation.broken_books(self._database)
        alerts = [_drifted(drift) for drift in drifts if drift.amount > ALERT_ABOVE]
        alerts += [RiskAlert(AlertKind.BOOKS_BROKEN, sentence, user_id) for user_id, sentence in broken]
        outside = await self._compare_with_the_exchange()
        new = sorted(outside - self._known)
        alerts += [RiskAlert(found.kind, found.sentence, found.user_id) for found in new]
        self._known = outside
        if alerts:
            async with self._database.transaction() as conn:
                await risk_alerts.record(conn, alerts, ACTOR)
            await risk_alerts.tell(self._redis, alerts)
        return Reconciled(
            _said(accounts, remargined.turned, drifts, broken, outside),
            accounts,
            [drift.user_id for drift in drifts],
            time.time_ns(),
            [alert.sentence for alert in alerts],
        )

    async def _compare_with_the_exchange(self) -> set[Finding]:
        """What stays over LOOKS looks."""
        found = await self._look()
        for _ in range(LOOKS - 1):
            if not found:
                break
            await asyncio.sleep(LOOK_SECONDS)
            found &= await self._look()
        return found

    async def _look(self) -> set[Finding]:
        holds = await holds_at_exchange.faults(self._database, self._intraday_percent, time.time_ns())
        return holds | await report_ages.without_trade(self._database)


def _drifted(drift: Drift) -> RiskAlert:
    return RiskAlert(AlertKind.MARGIN_DRIFT, drift.sentence, drift.user_id)


def _said(
    accounts: int, turned: int, drifts: list[Drift], broken: list[tuple[int, str]], outside: set[Finding]
) -> str:
    views = (
        f"{len(drifts)} views were wrong and are rebuilt" if drifts else "every view agrees with the ledger"
    )
    books = f"; {len(broken)} books do not hold" if broken else "; the books hold"
    files = f"; {turned} portfolios are margined by another risk file" if turned else ""
    holds = f"; {len(outside)} times they differ from the exchange" if outside else ""
    return f"{accounts} accounts: {views}{books}{files}{holds}."
