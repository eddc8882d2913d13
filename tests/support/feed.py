"""A sender of the exchange's feed under a test's hand: it loses, doubles and withholds what the test says."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from bus.ticks import RECORD
from config.settings import Settings
from exchange.feed import FeedLine, PacketKind, Records, feed_address, feed_port, header, packets
from realtime.feed.datagrams import DatagramSocket
from realtime.feed.feed_handler import FeedHandler

SILENCE_NS = 3_000_000_000


def some_records(prices: dict[int, int], **fields: Any) -> Records:
    """A record for each token; `prices` are in paise."""
    records = np.zeros(len(prices), RECORD)
    records["token"], records["ltp"] = list(prices), list(prices.values())
    for name, value in fields.items():
        records[name] = value
    return records


class Sender:
    """The exchange's side of the wire, of one exchange."""

    def __init__(self, settings: Settings, exchange: str = "NSE", session: int = 1) -> None:
        self.settings, self.exchange, self.session = settings, exchange, session
        self.sequence = 0
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._snapshots = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._snapshots.bind((settings.host, feed_port(settings, exchange, FeedLine.SNAPSHOT)))
        self._snapshots.settimeout(5)
        self.table: dict[int, np.void] = {}
        """What a snapshot would show."""

    def ticks(self, records: Records, lines: Iterable[FeedLine] = (FeedLine.A, FeedLine.B)) -> None:
        """Send on the lines given; on none, the packets are lost."""
        out = list(
            packets(PacketKind.TICKS, self.exchange, self.session, self.sequence + 1, time.time_ns(), records)
        )
        self.sequence += len(out)
        self.table |= {int(record["token"]): record for record in records}
        for line in lines:
            for datagram in out:
                self.send(datagram, line)

    def heartbeat(self) -> None:
        beat = header(PacketKind.HEARTBEAT, self.exchange, self.session, self.sequence, time.time_ns())
        for line in (FeedLine.A, FeedLine.B):
            self.send(beat, line)

    def send(self, datagram: bytes, line: FeedLine) -> None:
        self._out.sendto(datagram, feed_address(self.settings, self.exchange, line))

    def answer_snapshot(self, *, end: bool = True) -> bytes:
        """Wait for a request and answer it; returns the request."""
        request, asker = self._snapshots.recvfrom(65536)
        words = (PacketKind.SNAPSHOT, self.exchange, self.session, self.sequence, time.time_ns())
        rows = np.array(list(self.table.values()), RECORD)
        for datagram in [*packets(*words, rows), *([header(*words)] if end else [])]:
            self._snapshots.sendto(datagram, asker)
        return request

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Every snapshot request is answered, on a thread of its own."""
        stopped = threading.Event()

        def answer() -> None:
            self._snapshots.settimeout(0.05)
            while not stopped.is_set():
                with suppress(TimeoutError):
                    self.answer_snapshot()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def close(self) -> None:
        self._out.close()
        self._snapshots.close()


def a_handler(
    settings: Settings, tokens: Iterable[int], exchange: str = "NSE", now_ns: int = 0
) -> FeedHandler:
    """Bound to the feed's ports of these settings."""
    lines = [
        DatagramSocket(feed_address(settings, exchange, line), settings.host)
        for line in (FeedLine.A, FeedLine.B)
    ]
    snapshots = DatagramSocket((settings.host, 0), settings.host)
    asked_at = (settings.host, feed_port(settings, exchange, FeedLine.SNAPSHOT))
    return FeedHandler(exchange, list(tokens), lines, snapshots, asked_at, SILENCE_NS, now_ns)
