"""Minutes out of ticks: hand-made ones, a generated day against plain sums, a real one against bars."""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.ticks import RECORD
from domain.money import paise
from domain.time import IST, NANOS
from exchange.feed import PACKET, PACKET_RECORDS, Records
from realtime.feed.candles import MINUTE_NS, CandleBuilder
from realtime.feed.last_values import LastValues
from tests.support.market_data import recorded, recorded_file
from tests.support.tick_day import generated_day

NINE = 1_700_000_040 * NANOS // MINUTE_NS * MINUTE_NS


class Feed:
    """Ticks into a table and its candles, as the feed handler does it."""

    def __init__(self, *tokens: int) -> None:
        self.values = LastValues(tokens)
        self.candles = CandleBuilder(self.values.tokens)
        self._sequence = 0

    def ticks(self, *ticks: tuple[int, float, int, int, int], snapshot: bool = False) -> None:
        """(token, minutes after nine, price, volume, trades), all in one batch."""
        records = np.zeros(len(ticks), RECORD)
        for record, (token, minutes, price, volume, trades) in zip(records, ticks, strict=True):
            record["token"], record["time_ns"] = token, NINE + round(minutes * MINUTE_NS)
            record["ltp"], record["volume"], record["trades"] = price, volume, trades
        self.records(records, snapshot=snapshot)

    def records(self, records: Records, *, snapshot: bool = False) -> None:
        packets = np.zeros(-(-len(records) // PACKET_RECORDS), PACKET)
        for number, packet in enumerate(packets):
            part = records[number * PACKET_RECORDS : (number + 1) * PACKET_RECORDS]
            packet["count"] = len(part)
            packet["records"][: len(part)] = part
        self._sequence += len(packets)
        packets["sequence"] = self._sequence - len(packets) + 1 + np.arange(len(packets))
        written = self.values.write(packets, 1)
        (self.candles.join if snapshot else self.candles.add)(written)

    def take(self) -> list[tuple[Any, ...]]:
        """(token, minutes after nine, open, high, low, close, volume)."""
        return [seen(candle) for candle in self.candles.take()]


def seen(candle: np.void) -> tuple[Any, ...]:
    minute = (int(candle["minute_ns"]) - NINE) // MINUTE_NS
    prices = (int(candle[name]) for name in ("open", "high", "low", "close"))
    return (int(candle["token"]), minute, *prices, int(candle["closing_volume"] - candle["opening_volume"]))


def test_a_minute_is_the_first_highest_lowest_and_last_of_its_trades() -> None:
    feed = Feed(7)
    feed.ticks((7, 0, 90, 1000, 50), snapshot=True)
    assert feed.take() == [], "what was traded before we came is not ours"
    feed.ticks(
        (7, 0.1, 100, 1010, 51), (7, 0.2, 120, 1015, 52), (7, 0.3, 95, 1020, 53), (7, 0.9, 110, 1030, 54)
    )
    assert feed.take() == [(7, 0, 100, 120, 95, 110, 30)]
    assert feed.take() == [], "told once"
    feed.ticks((7, 0.95, 130, 1040, 55))
    assert feed.take() == [(7, 0, 100, 130, 95, 130, 40)], "a minute that goes on is told again"


def test_one_batch_may_span_minutes_and_instruments() -> None:
    feed = Feed(7, 8)
    feed.ticks((7, 0, 100, 0, 0), (8, 0, 200, 0, 0), snapshot=True)
    feed.ticks((7, 0.5, 101, 5, 1), (8, 0.5, 201, 6, 1), (7, 1.0, 102, 9, 2), (7, 3.5, 99, 12, 3))
    assert sorted(feed.take()) == [
        (7, 0, 101, 101, 101, 101, 5),
        (7, 1, 102, 102, 102, 102, 4),
        (7, 3, 99, 99, 99, 99, 3),
        (8, 0, 201, 201, 201, 201, 6),
    ]


def test_a_quote_that_changes_is_no_trade() -> None:
    feed = Feed(7)
    feed.ticks((7, 0, 100, 10, 1), snapshot=True)
    feed.ticks((7, 0.5, 100, 10, 1), (7, 1.5, 100, 10, 1))
    assert feed.take() == []


def test_an_index_has_candles_without_volume() -> None:
    feed = Feed(7)
    feed.ticks((7, 0, 100, 0, 1), (7, 0.1, 103, 0, 2), (7, 0.2, 101, 0, 3))
    assert feed.take() == [(7, 0, 100, 103, 100, 101, 0)]


def test_a_sender_that_counts_from_zero_again_loses_no_volume() -> None:
    feed = Feed(7)
    feed.ticks((7, 0, 100, 1000, 50), snapshot=True)
    feed.ticks((7, 0.1, 100, 1010, 51))
    feed.values.begin_session()
    feed.candles.begin_session()
    feed.ticks((7, 0.5, 105, 7, 1))
    assert feed.take() == [(7, 0, 100, 105, 100, 105, 17)]


def test_a_trade_older_than_the_current_minute_changes_nothing() -> None:
    feed = Feed(7)
    feed.ticks((7, 1.5, 100, 10, 1))
    feed.ticks((7, 0.5, 1, 11, 2))
    assert feed.take() == [(7, 1, 100, 100, 100, 100, 0)]


def rows_of(file: Path) -> Iterator[list[str]]:
    with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as rows:
        reader = csv.reader(rows)
        next(reader)
        yield from reader


class Day:
    """The candles of a whole file of ticks, and each minute's prices as the file has them."""

    def __init__(self, file: Path) -> None:
        self.token_of: dict[str, int] = {}
        self.prices: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.volumes: dict[tuple[int, int], int] = {}
        """At the minute's end."""
        self._trades: Counter[int] = Counter()
        ticks = [self._tick(*row) for row in rows_of(file)]
        records = np.zeros(len(ticks), RECORD)
        names = ("token", "ltp", "time_ns", "volume", "trades")
        for name, values in zip(names, zip(*ticks, strict=True), strict=True):
            records[name] = values
        feed = Feed(*self.token_of.values())
        built = []
        for start in range(0, len(records), 5000):
            feed.records(records[start : start + 5000])
            built.append(feed.candles.take())
        self.candles = {(int(c["token"]), int(c["minute_ns"])): c for c in np.concatenate(built)}

    def _tick(self, stamp: str, symbol: str, price: str, volume: str) -> tuple[int, ...]:
        token = self.token_of.setdefault(symbol, len(self.token_of) + 1)
        self._trades[token] += 1
        minute = token, _ns(stamp[:16])
        self.prices[minute].append(_paise(price))
        self.volumes[minute] = int(volume)
        return token, _paise(price), minute[1] + int(stamp[17:]) * NANOS, int(volume), self._trades[token]


def test_a_generated_day_gives_the_bars_that_plain_sums_give(tmp_path: Path) -> None:
    day = Day(generated_day(tmp_path, minutes=25).file)
    assert len(day.candles) == len(day.prices) > 1_000 and day.candles.keys() == day.prices.keys()
    before: dict[int, int] = {}
    for (token, minute), prices in sorted(day.prices.items(), key=lambda each: each[0][1]):
        candle = day.candles[token, minute]
        whole = (candle["open"], candle["high"], candle["low"], candle["close"])
        assert whole == (prices[0], max(prices), min(prices), prices[-1])
        assert candle["closing_volume"] == day.volumes[token, minute]
        # Nobody knows what was traded before the first tick.
        assert candle["opening_volume"] == before.get(token, candle["opening_volume"])
        before[token] = day.volumes[token, minute]


@recorded
@pytest.mark.timeout(300)
def test_a_real_day_gives_the_bars_that_others_derived_from_it() -> None:
    day = Day(recorded_file("ticks/nse_ticks_2021-06-11*.csv.gz"))
    ours, derived = dict(day.candles), rows_of(recorded_file("ticks/nse_1min_bars*.csv.gz"))
    bars = [row for row in derived if row[0] > "2021-06-11"]
    contradictions = 0
    for minute, symbol, opened, high, low, closed, volume, total, _ in bars:
        key = (day.token_of[symbol], _ns(minute))
        candle, prices = ours.pop(key), day.prices[key]
        assert (candle["open"], candle["close"]) == (prices[0], prices[-1])
        assert (candle["high"], candle["low"]) == (_paise(high), _paise(low))
        contradictions += (prices[0], prices[-1]) != (_paise(opened), _paise(closed))
        assert candle["closing_volume"] == int(total)
        # The file does not know what was traded before the day's first bar.
        assert not volume or candle["closing_volume"] - candle["opening_volume"] == int(volume)
    assert len(bars) == 21_476
    assert contradictions == 50, "in these the bar's open or close is not the minute's first or last tick"
    assert len(ours) == 511 and min(minute for _, minute in ours) == _ns("2021-06-11 15:30"), (
        "the bars end with the continuous session, the ticks go on"
    )


_paise = cache(paise)


@cache
def _ns(minute: str) -> int:
    return int(datetime.strptime(minute, "%Y-%m-%d %H:%M").replace(tzinfo=IST).timestamp()) * NANOS
