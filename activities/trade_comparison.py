"""The trades of a day that is over, held against the exchange's own file, once after each close.

A difference is looked at again before it counts: the last reports of a day may still be on their way. What
stays is one alert of the exchange and the day. Called by the reconciliation workflow; `compare_day` by
`hundi reconcile` as well.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from redis.asyncio import Redis
from temporalio import activity

from domain.events import AlertKind
from domain.trade_comparison import TradeComparison, TradeLeg, compare
from exchange.files.trade_file import read_trade_file, trade_file_path
from storage.books import trade_comparisons
from storage.books.trade_comparisons import Closed
from storage.database import Database
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

LOOKS, LOOK_SECONDS = 4, 2.0
SHOWN = 20
"""Differences in an alert; `hundi reconcile` shows them all."""
ACTOR = "reconciliation"


class TradeFileUnusable(Exception):
    """In a sentence."""


async def compare_day(database: Database, folder: Path, exchange: str, day: date) -> TradeComparison:
    """One look; a file that is not there has nothing in it. Raises TradeFileUnusable."""
    filed = await asyncio.to_thread(_filed, trade_file_path(folder, exchange, day))
    return compare(exchange, day, filed, await trade_comparisons.booked_legs(database, exchange, day))


class TradeFiles:
    def __init__(self, database: Database, redis: Redis, folder: Path, exchanges: Sequence[str]) -> None:
        self._database, self._redis = database, redis
        self._folder, self._exchanges = folder, exchanges

    @activity.defn(name="compare_trades")
    async def compare_trades(self) -> list[str]:
        """A sentence for each exchange that has closed since the last look."""
        closed = await trade_comparisons.closed(self._database, self._exchanges)
        return [await self._compare(closing) for closing in closed]

    async def _compare(self, closing: Closed) -> str:
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_SECONDS)
            try:
                compared = await compare_day(self._database, self._folder, closing.exchange, closing.day)
            except TradeFileUnusable as unusable:
                # No legs of the file are known: nothing of the day is proven.
                compared = TradeComparison(closing.exchange, closing.day, 0, 0, [str(unusable)])
            if not compared.differences:
                break
        alerts = [_alert(compared)] if compared.differences else []
        async with self._database.transaction() as conn:
            first = await trade_comparisons.keep(conn, closing, compared, time.time_ns())
            if first and alerts:
                await risk_alerts.record(conn, alerts, ACTOR)
        if first:
            await risk_alerts.tell(self._redis, alerts)
        return compared.sentence


def _alert(compared: TradeComparison) -> RiskAlert:
    detail = {
        "exchange": compared.exchange,
        "trade_date": compared.day.isoformat(),
        "differences": compared.differences[:SHOWN],
    }
    return RiskAlert(AlertKind.TRADES_DIFFER, compared.sentence, detail=detail)


def _filed(path: Path) -> list[TradeLeg]:
    try:
        return list(read_trade_file(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TradeFileUnusable(f"{path.name} cannot be read: {error!r}.") from error
