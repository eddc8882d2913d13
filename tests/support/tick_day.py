"""A tick day, played to a feed: the exchange's own tape, faster than it happened.

The day is a generated one, or the recorded one where that is. Either is a file of rows (second, symbol, last
price, volume so far); one recorded second is one beat of the tape.
"""

import csv
import gzip
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random

from config.settings import Settings
from domain.instruments import InstrumentKind
from domain.money import paise, rupees
from exchange.feed import FeedLine, feed_address, feed_port
from exchange.files.master import read_master
from exchange.simulator.tape import FeedSocket, Tape
from tests.support.market_data import recorded_file

MASTER = read_master("NSE")
SLOWLY_SECONDS = 1 / 20
"""For each second of the day."""
COLUMNS = "timestamp_ist,symbol,ltp,cum_volume"
SHARES, TICKS_A_SECOND = 50, 16


@dataclass(frozen=True, slots=True)
class TickDay:
    file: Path
    since: str
    """The first second that is played."""


def recorded_day() -> TickDay:
    """The last half hour of 11 June 2021; HUNDI_DAY_FROM="2021-06-11 09:00" plays the whole day."""
    since = os.environ.get("HUNDI_DAY_FROM", "2021-06-11 15:10")
    return TickDay(recorded_file("ticks/nse_ticks_2021-06-11*.csv.gz"), since)


def generated_day(folder: Path, minutes: int = 35, seed: int = 1) -> TickDay:
    """So many minutes of fifty shares and every index, each walking from its previous close."""
    file, opens = folder / "generated_ticks.csv.gz", datetime(2031, 6, 11, 15, 10)
    with gzip.open(file, "wt", encoding="utf-8-sig", newline="") as rows:
        rows.write(f"{COLUMNS}\n")
        rows.writelines(f"{row}\n" for row in _walk(opens, minutes * 60, Random(seed)))
    return TickDay(file, f"{opens:%Y-%m-%d %H:%M}")


def _walk(opens: datetime, seconds: int, chance: Random) -> Iterator[str]:
    indices = [row for row in MASTER.values() if row.kind is InstrumentKind.INDEX]
    shares = [row for row in MASTER.values() if row.kind is InstrumentKind.EQUITY][:SHARES]
    price = {row.symbol: row.previous_close for row in (*shares, *indices)}
    volume = dict.fromkeys(price, 0)
    for second in range(seconds):
        for row in chance.sample([*shares, *indices], TICKS_A_SECOND):
            price[row.symbol] += chance.randint(-3, 3) * row.tick_size
            volume[row.symbol] += 0 if row in indices else chance.randint(0, 500)
            at = opens + timedelta(seconds=second)
            yield f"{at:%Y-%m-%d %H:%M:%S},{row.symbol},{rupees(price[row.symbol])},{volume[row.symbol]}"


class PlayedExchange:
    """Plays the day to the feed of these settings; `last` is the last price by token."""

    def __init__(self, settings: Settings, day: TickDay) -> None:
        self._day = day
        self._tape = Tape("NSE", MASTER.values(), int(time.time()))
        lines = [feed_address(settings, "NSE", line) for line in (FeedLine.A, FeedLine.B)]
        self._feed = FeedSocket(settings.host, lines, feed_port(settings, "NSE", FeedLine.SNAPSHOT))
        self._volumes: dict[str, int] = {}
        self.last: dict[int, int] = {}
        self.slowly = threading.Event()
        """Set: the day takes its time, until it is cleared."""
        self.ticks = 0

    def play(self) -> None:
        with gzip.open(self._day.file, "rt", encoding="utf-8-sig", newline="") as rows:
            for _, second in groupby(self._published(rows), key=lambda row: row["timestamp_ist"]):
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

    def _published(self, rows: Iterator[str]) -> Iterator[dict[str, str]]:
        """Of our instruments, from the first second on."""
        ours = (row for row in csv.DictReader(rows) if row["symbol"] in MASTER)
        return (row for row in ours if row["timestamp_ist"] >= self._day.since)
