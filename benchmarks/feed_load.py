"""An exchange's feed at a rate of choice: `python -m benchmarks.feed_load --ticks 500000`.

Packets are built once, every instrument in turn, and sent round after round with running numbers and new
time stamps, paced open-loop: a reader that stalls loses packets. One system call hands the kernel many
datagrams (UDP_SEGMENT); the reader still receives each by itself, as from a wire.
"""

import argparse
import socket
import struct
import time
from collections.abc import Sequence

import numpy as np

from config.settings import settings
from exchange.feed import MAGIC, PACKET, PACKET_RECORDS, VERSION, FeedLine, PacketKind, feed_address, header
from exchange.files.master import read_master

INSTRUMENTS = 5_000
AT_ONCE = 44
"""Datagrams a system call: as many as fit 64 KiB."""
_UDP_SEGMENT = 103


class FeedLoad:
    """Sends to every line; `sequence` is the last number sent."""

    def __init__(self, exchange: str, tokens: Sequence[int], lines: Sequence[tuple[str, int]]) -> None:
        self._exchange, self._session = exchange, int(time.time())
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in lines]
        for sock, line in zip(self._sockets, lines, strict=True):
            sock.connect(line)
        self._segment = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", PACKET.itemsize))]
        self._round = _round(exchange, tokens, self._session)
        self.sequence = 0

    def run(self, ticks_a_second: float, seconds: float) -> int:
        """Send for so long; returns the ticks sent."""
        packets_a_second = ticks_a_second / PACKET_RECORDS
        first, begun = self.sequence, time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < seconds:
            if self.sequence - first > elapsed * packets_a_second:
                time.sleep(0.0002)
                continue
            self._send(AT_ONCE)
        for sock in self._sockets:
            beat = header(PacketKind.HEARTBEAT, self._exchange, self._session, self.sequence, time.time_ns())
            _try_send(sock, [beat], [])
        return (self.sequence - first) * PACKET_RECORDS

    def _send(self, count: int) -> None:
        start = self.sequence % len(self._round)
        part = self._round[start : start + count]
        part["sequence"] = self.sequence + 1 + np.arange(len(part))
        part["sent_ns"] = time.time_ns()
        part["records"]["time_ns"] = part["sent_ns"][:, None]
        part["records"]["trades"] += 1
        self.sequence += len(part)
        for sock in self._sockets:
            _try_send(sock, [part.view(np.uint8).data], self._segment)


def _try_send(
    sock: socket.socket, parts: list[bytes | memoryview], control: list[tuple[int, int, bytes]]
) -> None:
    """What nobody takes is lost, as on a wire."""
    try:
        sock.sendmsg(parts, control)
    except (BlockingIOError, ConnectionError):
        return


def _round(exchange: str, tokens: Sequence[int], session: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Packets that name every instrument equally often, each of them full."""
    packets = np.zeros(len(tokens), PACKET)
    for name, value in (
        ("magic", MAGIC),
        ("version", VERSION),
        ("kind", PacketKind.TICKS),
        ("count", PACKET_RECORDS),
        ("exchange", exchange.encode()),
        ("session", session),
    ):
        packets[name] = value
    records = packets["records"]
    records["token"] = np.resize(tokens, records.shape)
    random = np.random.default_rng(session)
    for name in ("ltp", "open", "high", "low", "previous_close"):
        records[name] = random.integers(10_000, 500_000, records.shape)
    for side in ("bids", "asks"):
        records[side]["price"] = random.integers(10_000, 500_000, records[side].shape)
        records[side]["quantity"] = random.integers(1, 10_000, records[side].shape)
    return packets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=float, default=500_000, help="a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--exchange", default="NSE")
    chosen = parser.parse_args()
    lines = [feed_address(settings(), chosen.exchange, line) for line in (FeedLine.A, FeedLine.B)]
    # No index: at prices out of nowhere one would halt the market.
    known = [instrument.token for instrument in read_master(chosen.exchange).values() if instrument.tradable]
    tokens = known + list(range(max(known) + 1, max(known) + 1 + INSTRUMENTS - len(known)))
    begun, busy = time.perf_counter(), time.process_time()
    sent = FeedLoad(chosen.exchange, tokens, lines).run(chosen.ticks, chosen.seconds)
    seconds = time.perf_counter() - begun
    print(f"{sent:,} ticks on {len(lines)} lines in {seconds:.1f} s: {sent / seconds:,.0f} ticks/s,", end=" ")
    print(f"{(time.process_time() - busy) / seconds:.0%} of a core")


if __name__ == "__main__":
    main()
