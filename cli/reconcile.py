"""`hundi reconcile`: a day's trades beside the exchanges' own files, each difference a line.

It only reads; the platform itself compares after each close. Exit code 1 when anything differs.
"""

import asyncio
import sys
import time
from datetime import date

from rich.console import Console

from activities.trade_comparison import TradeFileUnusable, compare_day
from cli.books import opened
from config.settings import settings
from domain.time import trade_date
from domain.trade_comparison import TradeComparison
from stack.errors import StackError

_console = Console(highlight=False, soft_wrap=True)


def main(day: str | None = None) -> None:
    """Compare the trades of one day, exchange by exchange."""
    try:
        wanted = date.fromisoformat(day) if day else trade_date(time.time_ns())
    except ValueError:
        raise StackError(f"{day} is no date") from None
    found = asyncio.run(_compare(wanted))
    for compared in found:
        colour = "red" if compared.differences else "green"
        _console.print(f"[{colour}]{compared.sentence}")
        for difference in compared.differences:
            _console.print(f"  {difference}", markup=False)
    if any(compared.differences for compared in found):
        sys.exit("hundi: the books and the exchange's file differ")


async def _compare(day: date) -> list[TradeComparison]:
    ours = settings()
    async with opened(ours.postgres_dsn, "reconcile") as database:
        try:
            return [
                await compare_day(database, ours.trade_files, exchange, day) for exchange in ours.exchanges
            ]
        except TradeFileUnusable as unusable:
            raise StackError(str(unusable)) from None
