"""One exchange's feed: two lines in, the latest state of each instrument out, and nothing lost in silence.

Invariant: a packet number missing on both lines is reported and a snapshot asked for until one covers it; a
price that may be out of date (the lines are silent, or such a snapshot does not come) is flagged stale until
its instrument is heard of again. Never blocks. Called by distributor.py; source: docs/feed-format.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from bus.ticks import RECORD
from exchange.feed import HEADER, MAGIC, PACKET_RECORDS, VERSION, PacketKind, Records, snapshot_request
from realtime.feed.candles import CandleBuilder
from realtime.feed.datagrams import Datagrams, DatagramSocket
from realtime.feed.last_values import LastValues
from realtime.feed.line_arbiter import LineArbiter
from realtime.telemetry import FeedCounts, record

BATCHES = 16
"""Read from each line in one poll, so that publishing is never starved."""
ASK_AGAIN_NS = 1_000_000_000
log = structlog.get_logger()


@dataclass(slots=True)
class LineReader:
    name: str
    socket: DatagramSocket
    heard_ns: int


class FeedHandler:
    """`lines` are the sockets of A and B; `snapshots` asks at the address `exchange_at` and hears the answer.

    `now_ns` is monotonic time throughout: a step of the clock is no silence.
    """

    def __init__(
        self,
        exchange: str,
        tokens: Sequence[int],
        lines: Sequence[DatagramSocket],
        snapshots: DatagramSocket,
        exchange_at: tuple[str, int],
        silence_ns: int,
        now_ns: int,
    ) -> None:
        self.exchange = exchange
        self.values = LastValues(tokens)
        self.candles = CandleBuilder(self.values.tokens)
        self.counts = FeedCounts()
        self._told = FeedCounts()
        self.lines = [LineReader(name, line, now_ns) for name, line in zip("AB", lines, strict=False)]
        self._snapshots, self._exchange_at, self._silence_ns = snapshots, exchange_at, silence_ns
        self._arbiter: LineArbiter | None = None
        self._session = 0
        self.silent = False
        self.wanted: int | None = 0
        """A snapshot up to this packet number is needed; None when nothing is missing."""
        self._wanted_ns = now_ns
        self._asked_ns = 0

    @property
    def sockets(self) -> list[DatagramSocket]:
        return [*(line.socket for line in self.lines), self._snapshots]

    def poll(self, now_ns: int) -> None:
        """Take what has arrived on every socket."""
        for _ in range(BATCHES):
            got = [self._take(line, line.socket.receive(), now_ns) for line in self.lines]
            if not any(got):
                break
        while len((answer := self._snapshots.receive()).packets):
            self._take_snapshot(self._valid(answer), now_ns)

    def check(self, now_ns: int) -> None:
        """Report gaps, ask for snapshots, flag what is stale; to be called some times a second."""
        if self._arbiter is not None and (gaps := self._arbiter.overdue(now_ns)):
            missed = sum(gap.packets for gap in gaps)
            self.counts.gaps += len(gaps)
            self.counts.missed += missed
            log.warning(
                "feed_gap",
                exchange=self.exchange,
                first=gaps[0].first,
                last=gaps[-1].last,
                gaps=len(gaps),
                packets=missed,
            )
            self._want(gaps[-1].last, now_ns)
        self._check_silence(now_ns)
        if self.wanted is not None:
            if now_ns - self._wanted_ns >= self._silence_ns:
                self.values.mark_stale(before=self.wanted)
            if now_ns - self._asked_ns >= ASK_AGAIN_NS:
                self._asked_ns = now_ns
                self._snapshots.send(snapshot_request(self.exchange), self._exchange_at)
        record(self.exchange, self._told, self.counts)
        self._told = replace(self.counts)

    def silent_lines(self, now_ns: int) -> list[str]:
        return [line.name for line in self.lines if now_ns - line.heard_ns >= self._silence_ns]

    def _check_silence(self, now_ns: int) -> None:
        silent = len(self.silent_lines(now_ns)) == len(self.lines)
        if silent:
            self.values.mark_stale()
        if silent is self.silent:
            return
        self.silent = silent
        if silent:
            log.error("feed_silent", exchange=self.exchange)
        else:
            log.info("feed_heard_again", exchange=self.exchange)
            self._want(self._arbiter.last if self._arbiter else 0, now_ns)

    def _want(self, number: int, now_ns: int) -> None:
        if self.wanted is None:
            self._wanted_ns = now_ns
        self.wanted = max(self.wanted or 0, number)

    def _take(self, line: LineReader, datagrams: Datagrams, now_ns: int) -> bool:
        """Whether there may be more."""
        if not len(datagrams.packets):
            return False
        packets = self._of_session(self._valid(datagrams), now_ns)
        if len(packets):
            line.heard_ns = now_ns
            kinds = packets["kind"]
            ticks = kinds == PacketKind.TICKS
            if ticks.any():
                self._take_ticks(_ascending(_where(packets, ticks)), now_ns)
            beats = kinds == PacketKind.HEARTBEAT
            if beats.any():
                number = int(packets["sequence"][beats].max())
                self._joined(number, now_ns).announce(number, now_ns)
        return True

    def _take_ticks(self, packets: Records, now_ns: int) -> None:
        numbers = packets["sequence"].astype(np.int64)
        packets = _where(packets, self._joined(int(numbers[0]) - 1, now_ns).take(numbers, now_ns))
        if len(packets):
            written = self.values.write(packets, time.time_ns())
            self.candles.add(written)
            self.counts.packets += len(packets)
            self.counts.ticks += len(written.rows)

    def _take_snapshot(self, packets: Records, now_ns: int) -> None:
        packets = self._of_session(_where(packets, packets["kind"] == PacketKind.SNAPSHOT), now_ns)
        if not len(packets):
            return
        through = int(packets["sequence"][-1])
        self._joined(through, now_ns)
        self.candles.join(self.values.write(packets, time.time_ns()))
        ended = packets["count"][-1] == 0
        if ended and self.wanted is not None and through >= self.wanted and self.values.covered(through):
            self.wanted = None
            self.counts.healed += 1

    def _joined(self, number: int, now_ns: int) -> LineArbiter:
        """The session's arbiter. Where we come in, what was sent up to `number` takes a snapshot to know."""
        if self._arbiter is None:
            self._arbiter = LineArbiter(number)
            self._want(number, now_ns)
        return self._arbiter

    def _valid(self, datagrams: Datagrams) -> Records:
        packets, sizes = datagrams
        valid = packets["magic"] == MAGIC
        valid &= packets["version"] == VERSION
        valid &= packets["exchange"] == self.exchange.encode()
        valid &= packets["count"] <= PACKET_RECORDS
        valid &= packets["sequence"] < np.uint64(2**63)
        valid &= sizes == HEADER.itemsize + packets["count"] * np.uint32(RECORD.itemsize)
        self.counts.datagrams += len(packets)
        self.counts.malformed += len(packets) - int(np.count_nonzero(valid))
        return _where(packets, valid)

    def _of_session(self, packets: Records, now_ns: int) -> Records:
        """Those of the sender's session; a newer one, or any after a silence, becomes the session."""
        if not len(packets):
            return packets
        sessions = packets["session"]
        newest = int(sessions.max())
        if newest > self._session or (self.silent and newest != self._session):
            log.info("feed_session", exchange=self.exchange, session=newest)
            self._session, self._arbiter = newest, None
            self.values.begin_session()
            self.candles.begin_session()
            self.wanted, self._wanted_ns, self._asked_ns = 0, now_ns, 0
        return _where(packets, sessions == self._session)


def _where(packets: Records, mask: NDArray[np.bool_]) -> Records:
    """Without a copy where it can be."""
    return packets if mask.all() else packets[mask]


def _ascending(packets: Records) -> Records:
    """By number: a network may reorder."""
    numbers = packets["sequence"]
    return packets if (numbers[1:] >= numbers[:-1]).all() else packets[np.argsort(numbers, kind="stable")]
