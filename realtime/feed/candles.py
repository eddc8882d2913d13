"""One-minute candles of one exchange, built from every trade the feed tells, before anything is conflated.

Invariant: open, high, low and close of a minute are of its trades, in the order of the feed; a minute
without a trade has no candle. Volumes are running totals at the candle's two ends, so that the parts of one
minute from before and after a restart join and nothing is counted twice (storage/market/candles.py). Pure
numpy; called by feed_handler.py, drained by workers/distributor.py.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realtime.feed.last_values import WrittenRows

MINUTE_NS = 60_000_000_000
CANDLE = np.dtype(
    [
        ("token", "<i8"),
        ("minute_ns", "<i8"),
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("opening_volume", "<i8"),
        ("closing_volume", "<i8"),
    ]
)
_UNKNOWN = -1


class _Trades(NamedTuple):
    """Columns of ticks that report a trade, in order."""

    rows: NDArray[np.int64]
    minutes: NDArray[np.int64]
    prices: NDArray[np.int64]
    volumes: NDArray[np.int64]
    counts: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> "_Trades":
        return _Trades(*(column[mask] for column in self))


class CandleBuilder:
    """The candle of each instrument's current minute, and those that are over and not yet taken."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        # One more: the table's spare row of unknown tokens.
        self._now = np.zeros(len(tokens) + 1, CANDLE)
        self._now["token"][:-1] = tokens
        self._trades = np.full(len(tokens) + 1, _UNKNOWN, np.int64)
        self._offset = np.zeros(len(tokens) + 1, np.int64)
        """Volume of the sender's earlier sessions."""
        self._changed = np.zeros(len(tokens) + 1, np.bool_)
        self._over: list[NDArray[np.void]] = []

    def join(self, written: WrittenRows) -> None:
        """A snapshot: where an instrument is seen for the first time, its trades until now are not ours."""
        new = self._trades[written.rows] == _UNKNOWN
        rows = written.rows[new]
        self._trades[rows] = written.column("trades")[new]
        self._now["closing_volume"][rows] = written.column("volume")[new]
        self.add(written)

    def add(self, written: WrittenRows) -> None:
        """Ticks as they came. An instrument seen for the first time starts at the volume it shows."""
        counts = written.column("trades").astype(np.int64)
        is_trade = counts != self._trades[written.rows]
        if not is_trade.any():
            return
        minutes = written.column("time_ns") // MINUTE_NS * MINUTE_NS
        prices, volumes = (written.column(name).astype(np.int64) for name in ("ltp", "volume"))
        rows = written.rows.astype(np.int64)
        trades = _Trades(rows, minutes, prices, volumes + self._offset[rows], counts).where(is_trade)
        for minute in np.unique(trades.minutes):
            self._add_minute(int(minute), trades.where(trades.minutes == minute))

    def begin_session(self) -> None:
        """The sender counts from zero again; our totals go on from where they are."""
        known = self._trades != _UNKNOWN
        self._offset[known] = self._now["closing_volume"][known]
        self._trades[known] = 0

    def take(self) -> NDArray[np.void]:
        """Every candle that has changed since the last call, oldest first; the current minute's too."""
        rows = np.flatnonzero(self._changed[:-1])
        found = np.concatenate([*self._over, self._now[rows]])
        self._changed[:] = False
        self._over.clear()
        return found

    def _add_minute(self, minute: int, trades: _Trades) -> None:
        current = self._now["minute_ns"]
        trades = trades.where(current[trades.rows] <= minute)
        beginning = trades.where(current[trades.rows] < minute)
        self._begin(minute, beginning)
        rows, now = trades.rows, self._now
        np.maximum.at(now["high"], rows, trades.prices)
        np.minimum.at(now["low"], rows, trades.prices)
        now["close"][rows] = trades.prices
        self._trades[rows] = trades.counts
        # The highest, not the last: recorded ticks of one second have their totals out of order.
        np.maximum.at(now["closing_volume"], rows, trades.volumes)
        self._changed[rows] = True

    def _begin(self, minute: int, trades: _Trades) -> None:
        """The first of these trades of each instrument opens its new candle."""
        rows, first = np.unique(trades.rows, return_index=True)
        now = self._now
        finished = rows[self._changed[rows]]
        self._over.append(now[finished[finished < len(now) - 1]])
        new = self._trades[rows] == _UNKNOWN
        now["opening_volume"][rows] = np.where(new, trades.volumes[first], now["closing_volume"][rows])
        now["minute_ns"][rows] = minute
        for name in ("open", "high", "low"):
            now[name][rows] = trades.prices[first]
