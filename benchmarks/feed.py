"""Feed ingest: ticks a second that a core of the reader can take, at the exchange's 500 thousand and beyond.

Peers: asyncio's DatagramProtocol with struct.unpack into a dict, and a loop over recv_into that decodes
nothing. Ours: the feed handler as the distributor runs it (checked, arbitrated, last wins, candles built).
Ceiling: recvmmsg alone. Load on one core, reader on the other; a reader's figure is ticks taken a CPU-second
of its process, and what it lost is told beside it.
"""

import asyncio
import logging
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import structlog

from benchmarks.feed_load import INSTRUMENTS, FeedLoad
from benchmarks.rows import Row, Trial, compare
from bus.tick_bus import Publisher
from config.settings import Settings
from exchange.feed import HEADER, PACKET_RECORDS, FeedLine, PacketKind, feed_address, feed_port
from realtime.feed.datagrams import RECEIVE_BUFFER, DatagramSocket
from realtime.feed.distributor import Distributor
from realtime.feed.feed_handler import FeedHandler

SECONDS = 1.5
QUIET_SECONDS = 0.5
PATIENCE_SECONDS = 60
TOKENS = range(1, INSTRUMENTS + 1)
RATES = (500_000, 4_000_000)
SILENCE_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    ticks: int
    cpu_seconds: float
    reported: int = 0
    """Packets that the reader itself reports as missing."""


Reader = Callable[[Settings, Connection], None]
"""Says that it listens, reads until the load has been quiet for QUIET_SECONDS, then sends a Taken."""


async def rows(ours: Settings) -> list[Row]:
    """One row a reader and rate, on ports of these settings."""
    found = []
    for rate in RATES:
        trials = [
            Trial("peer", "asyncio + struct", partial(_trial, ours, _asyncio_struct, 1, rate)),
            Trial("peer", "recv_into loop, nothing decoded", partial(_trial, ours, _recv_into, 1, rate)),
            Trial("ours", "feed handler", partial(_trial, ours, _feed_handler, 1, rate)),
            Trial("ours", "feed handler, lines A and B", partial(_trial, ours, _feed_handler, 2, rate)),
            Trial("ceiling", "recvmmsg, nothing decoded", partial(_trial, ours, _recvmmsg, 1, rate)),
        ]
        found += await compare(f"feed, {rate:,} ticks/s: taken a core", trials, rounds=3)
    return found


async def _trial(ours: Settings, reader: Reader, lines: int, rate: int) -> tuple[float, str]:
    """Ticks a CPU-second, and what was lost."""
    taken, sent = await asyncio.to_thread(_measured, ours, reader, lines, rate)
    lost = sent // PACKET_RECORDS - taken.ticks // PACKET_RECORDS
    told = f", {taken.reported:,} reported" if reader is _feed_handler else ""
    offered = sent / SECONDS / 1e6
    return taken.ticks / taken.cpu_seconds, f"{lost:,} packets lost{told}, of {offered:.1f} M ticks/s sent"


def _measured(ours: Settings, reader: Reader, lines: int, rate: int) -> tuple[Taken, int]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_pinned, args=(0, reader, ours, there))
    process.start()
    _answer(here)
    load_here, load_there = context.Pipe()
    load = context.Process(target=_pinned, args=(1, partial(_load, lines=lines, rate=rate), ours, load_there))
    load.start()
    try:
        sent: int = _answer(load_here)
        taken: Taken = _answer(here)
    finally:
        for each in (load, process):
            each.join(QUIET_SECONDS)
            each.kill()
    return taken, sent


def _answer(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE_SECONDS):
        raise TimeoutError("a process of the feed benchmark did not answer")
    return pipe.recv()


def _pinned(core: int, work: Reader, ours: Settings, pipe: Connection) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    work(ours, pipe)


def _load(ours: Settings, pipe: Connection, *, lines: int, rate: int) -> None:
    addresses = [feed_address(ours, "NSE", line) for line in (FeedLine.A, FeedLine.B)][:lines]
    pipe.send(FeedLoad("NSE", TOKENS, addresses).run(rate, SECONDS))


def _feed_handler(ours: Settings, pipe: Connection) -> None:
    """The distributor's own loops; nothing is published, and what was lost is counted, not logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def run() -> None:
        lines = [
            DatagramSocket(feed_address(ours, "NSE", line), ours.host) for line in (FeedLine.A, FeedLine.B)
        ]
        answers = DatagramSocket((ours.host, 0), ours.host)
        asked_at = (ours.host, feed_port(ours, "NSE", FeedLine.SNAPSHOT))
        handler = FeedHandler("NSE", TOKENS, lines, answers, asked_at, SILENCE_NS, time.monotonic_ns())
        distributor = Distributor(_Nowhere(), [handler])
        tasks = [asyncio.create_task(part) for part in (distributor.read(), distributor.watch())]
        pipe.send("listening")
        cpu = await _until_quiet(lambda: handler.counts.datagrams)
        # A packet that comes late is taken, too, though rows of it are newer already.
        pipe.send(Taken(handler.counts.packets * PACKET_RECORDS, cpu, handler.counts.missed))
        for task in tasks:
            task.cancel()

    asyncio.run(run())


class _Nowhere(Publisher):
    """A bus that is never used."""

    def __init__(self) -> None: ...


def _asyncio_struct(ours: Settings, pipe: Connection) -> None:
    """As it is usually written: a protocol, struct, a dict of tuples."""
    record = struct.Struct("<IiqQIiiiiI" + "iI" * 10)

    class Ticks(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.latest: dict[int, tuple[int, ...]] = {}
            self.last = self.packets = self.ticks = 0

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.packets += 1
            _, _, kind, count, _, _, sequence, _ = struct.unpack_from("<4sBBH4sIQq", data)
            if kind != PacketKind.TICKS or sequence <= self.last:
                return
            self.last = sequence
            for fields in record.iter_unpack(data[HEADER.itemsize :]):
                self.latest[fields[0]] = fields
            self.ticks += count

    async def run() -> None:
        sock = _a_socket(ours)
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Ticks, sock=sock)
        pipe.send("listening")
        cpu = await _until_quiet(lambda: protocol.packets)
        pipe.send(Taken(protocol.ticks, cpu))

    asyncio.run(run())


def _recv_into(ours: Settings, pipe: Connection) -> None:
    sock, slot = _a_socket(ours), bytearray(2048)
    pipe.send("listening")
    sock.recv_into(slot)
    packets, busy = 1, time.process_time()
    sock.settimeout(QUIET_SECONDS)
    try:
        while True:
            sock.recv_into(slot)
            packets += 1
    except TimeoutError:
        # Not the heartbeat at the end.
        pipe.send(Taken((packets - 1) * PACKET_RECORDS, time.process_time() - busy))


def _recvmmsg(ours: Settings, pipe: Connection) -> None:
    sock = DatagramSocket(feed_address(ours, "NSE", FeedLine.A), ours.host)
    pipe.send("listening")
    packets, busy, heard = 0, 0.0, time.monotonic()
    while not packets or time.monotonic() - heard < QUIET_SECONDS:
        if count := len(sock.receive().packets):
            busy, heard = busy or time.process_time(), time.monotonic()
            packets += count
            last = time.process_time()
        else:
            time.sleep(0.002)
    pipe.send(Taken((packets - 1) * PACKET_RECORDS, last - busy))


def _a_socket(ours: Settings) -> socket.socket:
    """With a receive buffer as large as ours."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if os.geteuid() == 0:
        sock.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER)
    sock.bind(feed_address(ours, "NSE", FeedLine.A))
    return sock


async def _until_quiet(count: Callable[[], int]) -> float:
    """CPU seconds of this process from the first datagram to the last."""
    seen, busy, last, heard = 0, 0.0, 0.0, time.monotonic()
    while not seen or time.monotonic() - heard < QUIET_SECONDS:
        await asyncio.sleep(0.005)
        if count() != seen:
            last, heard = time.process_time(), time.monotonic()
            seen, busy = count(), busy or last
    return last - busy
