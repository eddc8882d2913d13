"""`hundi ban-list FILE`: take over the exchange's list of securities banned for derivatives."""

import asyncio
import getpass
import sys
from pathlib import Path
from platform import node

from cli.books import opened
from config.settings import settings
from exchange.files.ban_list import BanList, BanListError, read_ban_list
from storage.audit import Origin
from storage.risk import bans
from storage.risk.trading_states import RiskAction

EXCHANGE = "NSE"


def main(file: str) -> None:
    """Read the list and put it in force on its trade date."""
    try:
        banned = read_ban_list(Path(file).read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, BanListError) as error:
        sys.exit(f"hundi: {file} is not taken: {error}")
    asyncio.run(_write(banned, Path(file).name))
    print(f"{len(banned.symbols)} securities may only be reduced on {banned.trade_date}")


async def _write(banned: BanList, name: str) -> None:
    # Who runs a command here is the machine's word, not ours: it is on record as such.
    word = RiskAction(
        f"cli:{getpass.getuser()}"[:60], 0, f"The exchange's list {name}", Origin(device=node())
    )
    underlyings = [f"{EXCHANGE}:{symbol}" for symbol in banned.symbols]
    dsn = settings().postgres_dsn
    async with (
        opened(dsn, "ban-list") as database,
        database.transaction() as conn,
    ):
        await bans.replace(conn, banned.trade_date, underlyings, word)
