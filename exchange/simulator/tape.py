"""The day's prices of every instrument, and their way onto the feed: changed rows go out, once a beat.

Invariant: a row of the table is always the latest state, so a snapshot is a copy of rows and a tick is a
row that has changed since the last beat. Volume counts from the start of the process's day.
"""

import socket
from collections.abc import Iterable

import numpy as np

from bus.ticks import LEVELS, RECORD
from domain.instruments import Instrument
from exchange.feed import FeedError, PacketKind, header, packets, requested_tokens
from exchange.simulator.matching.book import OrderBook

HEARTBEAT_NS = 1_000_000_000


class Tape:
    """Rows by symbol. `lines` are the (host, port) of the A and B receivers."""

    def __init__(self, exchange: str, instruments: Iterable[Instrument], session: int) -> None:
        rows = list(instruments)
        self._exchange, self._session = exchange, session
        self._row = {instrument.symbol: number for number, instrument in enumerate(rows)}
        self._of_token = {instrument.token: number for number, instrument in enumerate(rows)}
        self._changed: set[int] = set()
        self.table = np.zeros(len(rows), RECORD)
        self.table["token"] = [instrument.token for instrument in rows]
        for name in ("ltp", "open", "high", "low", "previous_close"):
            self.table[name] = [instrument.previous_close for instrument in rows]
        self.sequence = 0

    def trade(self, symbol: str, price: int, quantity: int, now_ns: int) -> None:
        number = self._row[symbol]
        row = self.table[number]
        row["open"] = row["open"] if row["trades"] else price
        row["high"] = max(int(row["high"]), price) if row["trades"] else price
        row["low"] = min(int(row["low"]), price) if row["trades"] else price
        row["ltp"], row["time_ns"], row["last_quantity"] = price, now_ns, quantity
        row["volume"] += quantity
        row["trades"] += 1
        self._changed.add(number)

    def quote(self, symbol: str, book: OrderBook, now_ns: int) -> None:
        """Take the best levels of a book."""
        number = self._row[symbol]
        row = self.table[number]
        bids, asks = book.depth(LEVELS)
        row["bids"] = bids + [(0, 0)] * (LEVELS - len(bids))
        row["asks"] = asks + [(0, 0)] * (LEVELS - len(asks))
        row["time_ns"] = now_ns
        self._changed.add(number)

    def ticks(self, now_ns: int) -> list[bytes]:
        """Packets of every row changed since the last call."""
        rows = self.table[sorted(self._changed)]
        self._changed.clear()
        first = self.sequence + 1
        out = list(packets(PacketKind.TICKS, self._exchange, self._session, first, now_ns, rows))
        self.sequence += len(out)
        return out

    def heartbeat(self, now_ns: int) -> bytes:
        return header(PacketKind.HEARTBEAT, self._exchange, self._session, self.sequence, now_ns)

    def snapshot(self, tokens: list[int], now_ns: int) -> list[bytes]:
        """Rows of the tokens that exist here, all of them for an empty list, and the end mark."""
        numbers = [self._of_token[t] for t in tokens if t in self._of_token] if tokens else slice(None)
        words = (PacketKind.SNAPSHOT, self._exchange, self._session, self.sequence, now_ns)
        return [*packets(*words, self.table[numbers]), header(*words)]


class FeedSocket:
    """Sends packets to the `lines`, from `host`, and answers snapshot requests; never blocks."""

    def __init__(self, host: str, lines: Iterable[tuple[str, int]], snapshot_port: int) -> None:
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        self._lines = list(lines)
        self._snapshots = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._snapshots.bind((host, snapshot_port))
        for sock in (self._out, self._snapshots):
            sock.setblocking(False)

    def send(self, datagrams: Iterable[bytes]) -> None:
        for datagram in datagrams:
            for line in self._lines:
                try:
                    self._out.sendto(datagram, line)
                except OSError:
                    continue  # a full buffer loses a packet, as a network does; the number tells the reader

    def answer_snapshots(self, tape: Tape, now_ns: int) -> None:
        while True:
            try:
                request, asker = self._snapshots.recvfrom(65536)
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            try:
                answer = tape.snapshot(requested_tokens(request), now_ns)
            except FeedError:
                continue
            for datagram in answer:
                try:
                    self._snapshots.sendto(datagram, asker)
                except OSError:
                    break  # the asker sees no end mark and asks again

    def close(self) -> None:
        self._out.close()
        self._snapshots.close()
