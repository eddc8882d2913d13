"""The exchange's own file of a day's trades: where it is, its columns, and its rows as legs.

`exchange-<EXCHANGE>-trades-<YYYYMMDD>.csv`, one leg a row, money in paise; a torn last row is none.
The simulator writes it (exchange/simulator/journal.py); the reconciliation, `hundi reconcile`, the demo and
the tests read it.
"""

import csv
from collections.abc import Iterator
from datetime import date
from io import StringIO
from pathlib import Path

from domain.orders import Side
from domain.trade_comparison import TradeLeg

COLUMNS = (
    "exec_id",
    "exchange_order_id",
    "cl_ord_id",
    "client_code",
    "symbol",
    "side",
    "quantity",
    "price",
    "time_ns",
)


def trade_file_path(folder: Path, exchange: str, day: date) -> Path:
    return folder / f"exchange-{exchange}-trades-{day:%Y%m%d}.csv"


def trade_file_paths(folder: Path, exchange: str) -> list[Path]:
    """Of every day, the oldest first."""
    return sorted(folder.glob(f"exchange-{exchange}-trades-*.csv"))


def read_trade_file(path: Path) -> Iterator[TradeLeg]:
    """The legs, in the exchange's order. Raises OSError; ValueError or KeyError when it is none."""
    content = path.read_text(encoding="utf-8")
    for row in csv.DictReader(StringIO(content[: content.rfind("\n") + 1])):
        yield TradeLeg(
            row["exec_id"],
            row["cl_ord_id"].partition("-")[0],
            row["client_code"],
            row["symbol"],
            Side(row["side"]),
            int(row["quantity"]),
            int(row["price"]),
        )
