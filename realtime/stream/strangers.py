"""Strangers, connections on which nobody has signed in: a limit in all and an address, and a deadline.

The same rules hold on every front, for polling sessions and for WebSockets that are to replace one too.
Behind a trusted proxy the address is the one that the proxy names. Used by realtime/app.py,
plain_websocket.py and realtime/websocket/engineio_driver.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from config.trusted_proxies import TrustedProxies
from domain.addresses import network_of
from realtime.stream.messages import MessageRefused

SIGN_IN_SECONDS = 10.0
OF_ADDRESS_MAX, IN_ALL_MAX = 100, 4_000
OVERDUE = MessageRefused("AUTH_MISSING", f"Nobody signed in within {SIGN_IN_SECONDS:.0f} seconds.")
log = structlog.get_logger()


class Stranger:
    """A connection until it is `settled`: somebody has signed in, or it is gone."""

    __slots__ = ("_address", "_strangers", "_timer")

    def __init__(self, strangers: "Strangers", address: str) -> None:
        self._strangers, self._address = strangers, address
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, end: Callable[[], object]) -> None:
        """Keep it after its arrival; `end` is called when nobody signs in in time."""
        self._timer = asyncio.get_running_loop().call_later(SIGN_IN_SECONDS, end)

    @property
    def is_watched(self) -> bool:
        return self._timer is not None

    def settled(self) -> None:
        """Count it no longer; repeating is harmless."""
        if self._timer is not None:
            self._timer.cancel()
        if self._address:
            self._strangers.leave(self._address)
            self._address = ""


class Strangers:
    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._proxies = TrustedProxies(trusted_proxies)
        self._of_address: Counter[str] = Counter()
        self._refused: set[str] = set()
        """Addresses whose refusal is in the log already, kept as long as they have strangers."""

    @contextmanager
    def arrival(self, address: str) -> Iterator[Stranger]:
        """Count one more stranger; it stays if it is watched when the context ends. Raises MessageRefused."""
        counted = network_of(address)
        if self._of_address[counted] >= OF_ADDRESS_MAX or self._of_address.total() >= IN_ALL_MAX:
            if counted not in self._refused:
                self._refused.add(counted)
                log.warning("too_many_strangers", address=address[:100])
            detail = "There are too many connections that have not signed in; come again in some seconds."
            raise MessageRefused("TOO_MANY_CONNECTIONS", detail)
        self._of_address[counted] += 1
        stranger = Stranger(self, counted)
        try:
            yield stranger
        finally:
            if not stranger.is_watched:
                stranger.settled()

    def leave(self, counted: str) -> None:
        self._of_address[counted] -= 1
        if not self._of_address[counted]:
            del self._of_address[counted]
            self._refused.discard(counted)

    def address_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address of a peer, or the one that a trusted proxy names, as uvicorn has it for HTTP."""
        if forwarded_for and peer in self._proxies:
            return self._proxies.client(", ".join(forwarded_for)) or peer
        return peer
