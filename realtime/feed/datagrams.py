"""A UDP socket read many datagrams at a time into one preallocated buffer of packet slots.

One recvmmsg call fills up to SLOTS slots, so that a datagram costs the kernel's copy and little more; where
the C library has no recvmmsg, recv_into fills them one by one. Invariant: nothing is allocated per datagram,
and slots are valid until the next `receive`. Called by feed_handler.py.
"""

import ctypes
import errno
import os
import socket
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.feed import PACKET, Records

SLOTS = 512
RECEIVE_BUFFER = 64 << 20
"""Asked of the kernel; without CAP_NET_ADMIN it gives at most net.core.rmem_max."""
_SO_RCVBUFFORCE = 33


class Datagrams(NamedTuple):
    """Views of the slots that were filled, and how many bytes of each are the datagram's."""

    packets: Records
    sizes: NDArray[np.uint32]


class DatagramSocket:
    """Bound to an address, joined to its group if it is a multicast one; never blocks."""

    def __init__(self, address: tuple[str, int], interface: str, *, slots: int = SLOTS) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        _enlarge(self.socket)
        self.socket.bind(address)
        if int(address[0].split(".")[0]) in range(224, 240):
            membership = socket.inet_aton(address[0]) + socket.inet_aton(interface)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self._packets = np.zeros(slots, PACKET)
        self._fill = _ManyAtOnce(self._packets) if _recvmmsg else _OneByOne(self._packets)

    def receive(self) -> Datagrams:
        """What has arrived, at most one buffer full; empty when nothing has."""
        count = self._fill(self.socket)
        return Datagrams(self._packets[:count], self._fill.sizes[:count])

    def send(self, datagram: bytes, address: tuple[str, int]) -> None:
        """A lost request is as good as one that the network lost: its sender asks again."""
        with suppress(OSError):
            self.socket.sendto(datagram, address)

    def close(self) -> None:
        self.socket.close()


def _enlarge(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)


class _OneByOne:
    def __init__(self, packets: Records) -> None:
        self.sizes = np.zeros(len(packets), np.uint32)
        self._slots = [packets[n : n + 1].view(np.uint8).data for n in range(len(packets))]

    def __call__(self, sock: socket.socket) -> int:
        count = 0
        with suppress(BlockingIOError, ConnectionError):
            for slot in self._slots:
                self.sizes[count] = sock.recv_into(slot)
                count += 1
        return count


class _ManyAtOnce:
    """recvmmsg(2): the message headers point at the slots, once and for all."""

    def __init__(self, packets: Records) -> None:
        self._vectors = np.zeros(len(packets), _IOVEC)
        self._vectors["base"] = packets.ctypes.data + np.arange(len(packets)) * PACKET.itemsize
        self._vectors["length"] = PACKET.itemsize
        self._messages = np.zeros(len(packets), _MMSGHDR)
        self._messages["header"]["iov"] = (
            self._vectors.ctypes.data + np.arange(len(packets)) * _IOVEC.itemsize
        )
        self._messages["header"]["iov_length"] = 1
        self._address = ctypes.c_void_p(self._messages.ctypes.data)
        self.sizes: NDArray[np.uint32] = self._messages["size"]

    def __call__(self, sock: socket.socket) -> int:
        count = int(_recvmmsg(sock.fileno(), self._address, len(self._messages), 0, None))
        if count >= 0:
            return count
        fault = ctypes.get_errno()
        # ECONNREFUSED: an earlier request met a closed port.
        if fault in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED):
            return 0
        raise OSError(fault, os.strerror(fault))


_IOVEC = np.dtype([("base", np.uintp), ("length", np.uintp)])
_MSGHDR = np.dtype(
    [
        ("name", np.uintp),
        ("name_length", np.uint32),
        ("iov", np.uintp),
        ("iov_length", np.uintp),
        ("control", np.uintp),
        ("control_length", np.uintp),
        ("flags", np.int32),
    ],
    align=True,
)
_MMSGHDR = np.dtype([("header", _MSGHDR), ("size", np.uint32)], align=True)
"""`size` is the length of the datagram received."""
_recvmmsg: Any = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
