"""The recorded tick day, played to a feed: the exchange's own tape, faster than it happened."""

import csv
import gzip
import os
import threading
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from config.settings import Settings
from domain.money import paise
from exchange.feed import FeedLine, feed_address, feed_port
from exchange.master import read_master
from exchange.simulator.tape import FeedSocket, Tape

MASTER = read_master("NSE")
SLOWLY_SECONDS = 1 / 20
"""For each recorded second."""
FROM = os.environ.get("HUNDI_DAY_FROM", "2021-06-11 15:10")


def recorded_day() -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HUNDI_MARKET_DATA", default)) / "ticks"
    return next(folder.glob("nse_ticks_2021-06-11*.csv.gz"))


class RecordedExchange:
    """Plays the file to the feed of these settings; `last` is the last price by token."""

    def __init__(self, settings: Settings) -> None:
        self._file = recorded_day()
        self._tape = Tape("NSE", MASTER.values(), int(time.time()))
        lines = [feed_address(settings, "NSE", line) for line in (FeedLine.A, FeedLine.B)]
        self._feed = FeedSocket(settings.host, lines, feed_port(settings, "NSE", FeedLine.SNAPSHOT))
        self._volumes: dict[str, int] = {}
        self.last: dict[int, int] = {}
        self.slowly = threading.Event()
        """Set: the day takes its time, until it is cleared."""
        self.ticks = 0

    def play(self) -> None:
        with gzip.open(self._file, "rt", encoding="utf-8-sig", newline="") as rows:
            for _, second in groupby(_published(rows), key=lambda row: row["timestamp_ist"]):
                for row in second:
                    self._trade(row["symbol"], paise(row["ltp"]), int(row["cum_volume"]))
                self.beat(self._tape.ticks(time.time_ns()))
                if self.slowly.is_set():
                    time.sleep(SLOWLY_SECONDS)

    def beat(self, datagrams: list[bytes] | None = None) -> None:
        now_ns = time.time_ns()
        self._feed.send(datagrams or [self._tape.heartbeat(now_ns)])
        self._feed.answer_snapshots(self._tape, now_ns)

    def close(self) -> None:
        self._feed.close()

    def _trade(self, symbol: str, price: int, volume: int) -> None:
        quantity = max(0, volume - self._volumes.get(symbol, volume))
        self._volumes[symbol] = volume
        self._tape.trade(symbol, price, quantity, time.time_ns())
        self.last[MASTER[symbol].token] = price
        self.ticks += 1


def _published(rows: Iterator[str]) -> Iterator[dict[str, str]]:
    """Of our instruments, from FROM on."""
    return (row for row in csv.DictReader(rows) if row["symbol"] in MASTER and row["timestamp_ist"] >= FROM)
