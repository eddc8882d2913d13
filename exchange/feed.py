"""The exchange's tick feed: packets of fixed-size records over UDP, read and written with numpy.

A packet is one HEADER and `count` RECORDs, at most PACKET_RECORDS so that it fits an Ethernet frame. TICKS
packets of a session are numbered 1, 2, 3 ...; a number that is missing is a gap, healed by a snapshot. The
layout is documented for others in docs/feed-format.md. Written by the simulator, read by realtime.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bus.ticks import RECORD
from config.settings import Settings

MAGIC = b"HNDI"
VERSION = 1
PACKET_RECORDS = 11

HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("kind", "u1"),
        ("count", "<u2"),
        ("exchange", "S4"),
        ("session", "<u4"),
        ("sequence", "<u8"),
        ("sent_ns", "<i8"),
    ]
)
PACKET = np.dtype([*HEADER.descr, ("records", RECORD, PACKET_RECORDS)])
"""A whole packet in a slot of fixed size; records after `count` mean nothing."""
Records = NDArray[np.void]


class PacketKind(IntEnum):
    TICKS = 1
    HEARTBEAT = 2
    """No records; `sequence` is that of the last TICKS packet, so that a lost last packet is noticed."""
    SNAPSHOT_REQUEST = 3
    """Header, then `count` tokens as <u4; none asks for every instrument."""
    SNAPSHOT = 4
    """`sequence` is the last TICKS packet that the records include; one without records ends the answer."""


class FeedLine(IntEnum):
    """A and B carry the same packets; snapshots are asked for and answered at a port of their own."""

    A = 0
    B = 1
    SNAPSHOT = 2


class FeedError(ValueError):
    """A datagram that is no packet of this feed; the message says why."""


def feed_port(settings: Settings, exchange: str, line: FeedLine) -> int:
    """UDP port of a line: the feed's A ports come first, one an exchange, then B, then snapshots."""
    return settings.port("feed", line * len(settings.exchanges) + settings.exchanges.index(exchange))


def feed_address(settings: Settings, exchange: str, line: FeedLine) -> tuple[str, int]:
    """Where the exchange sends a line: its multicast group where one is set, the host itself otherwise."""
    groups = dict(zip(FeedLine, settings.feed_groups, strict=False))
    return groups.get(line, settings.host), feed_port(settings, exchange, line)


def header(
    kind: PacketKind, exchange: str, session: int, sequence: int, sent_ns: int, count: int = 0
) -> bytes:
    fields = (MAGIC, VERSION, kind, count, exchange.encode(), session, sequence, sent_ns)
    return np.array(fields, HEADER).tobytes()


def packets(
    kind: PacketKind, exchange: str, session: int, first_sequence: int, sent_ns: int, records: Records
) -> Iterator[bytes]:
    """Cut records into packets; TICKS count on from `first_sequence`, SNAPSHOTs all carry it."""
    step = 1 if kind is PacketKind.TICKS else 0
    for number, start in enumerate(range(0, len(records), PACKET_RECORDS)):
        part = records[start : start + PACKET_RECORDS]
        head = header(kind, exchange, session, first_sequence + number * step, sent_ns, len(part))
        yield head + part.tobytes()


def parse(datagram: bytes) -> tuple[np.void, Records]:
    """The header and the records (a view of the datagram). Raises FeedError."""
    if len(datagram) < HEADER.itemsize:
        raise FeedError(f"{len(datagram)} bytes are less than a header")
    head: Any = np.frombuffer(datagram, HEADER, 1)[0]
    if head["magic"] != MAGIC or head["version"] != VERSION:
        raise FeedError("not a packet of this feed's version")
    if head["kind"] == PacketKind.SNAPSHOT_REQUEST:
        return head, np.empty(0, RECORD)
    if len(datagram) != HEADER.itemsize + int(head["count"]) * RECORD.itemsize:
        raise FeedError(f"{len(datagram)} bytes do not hold {head['count']} records")
    return head, np.frombuffer(datagram, RECORD, offset=HEADER.itemsize)


def snapshot_request(exchange: str, tokens: list[int] | None = None) -> bytes:
    """Ask for some instruments, or for all."""
    wanted = np.array(tokens or [], "<u4")
    return header(PacketKind.SNAPSHOT_REQUEST, exchange, 0, 0, 0, len(wanted)) + wanted.tobytes()


def requested_tokens(datagram: bytes) -> list[int]:
    """Tokens of a snapshot request, empty for all. Raises FeedError."""
    head, _ = parse(datagram)
    if len(datagram) != HEADER.itemsize + 4 * int(head["count"]):
        raise FeedError(f"{len(datagram)} bytes do not hold {head['count']} tokens")
    return [int(token) for token in np.frombuffer(datagram, "<u4", offset=HEADER.itemsize)]
