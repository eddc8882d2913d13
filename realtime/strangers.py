"""Those who are connected and have not signed in: only so many, fewer of one address, and none for long.

On every front alike, polling sessions and WebSockets that are to follow one included. Behind a proxy that a
setting trusts, an address is the one it asks for. Used by realtime/app.py, plain.py and engine.py.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from realtime.messages import Refused

SIGN_IN_SECONDS = 10.0
OF_ADDRESS_MAX, IN_ALL_MAX = 100, 4_000
IPV6_PREFIX = 64
"""What one household has: its addresses count as one."""
OVERDUE = Refused("AUTH_MISSING", f"Nobody signed in within {SIGN_IN_SECONDS:.0f} seconds.")
log = structlog.get_logger()


class Stranger:
    """One of them, until it is `settled`: somebody has signed in, or it is gone."""

    __slots__ = ("_address", "_strangers", "_timer")

    def __init__(self, strangers: "Strangers", address: str) -> None:
        self._strangers, self._address = strangers, address
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, end: Callable[[], object]) -> None:
        """It stays after its arrival; `end` is called when it is overdue."""
        self._timer = asyncio.get_running_loop().call_later(SIGN_IN_SECONDS, end)

    @property
    def is_watched(self) -> bool:
        return self._timer is not None

    def settled(self) -> None:
        """It counts no longer; repeating is harmless."""
        if self._timer is not None:
            self._timer.cancel()
        if self._address:
            self._strangers.leave(self._address)
            self._address = ""


class Strangers:
    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._proxies = ProxyHeadersMiddleware(_nothing, list(trusted_proxies))
        self._of_address: Counter[str] = Counter()
        self._refused: set[str] = set()
        """Addresses whose refusal is in the log already; they are there as long as their strangers."""

    @contextmanager
    def arrival(self, address: str) -> Iterator[Stranger]:
        """Of one more; it stays if somebody watches it by the end. Raises Refused."""
        counted = _counted(address)
        if self._of_address[counted] >= OF_ADDRESS_MAX or self._of_address.total() >= IN_ALL_MAX:
            if counted not in self._refused:
                self._refused.add(counted)
                log.warning("too many connections without sign-in", address=address[:100])
            detail = "There are too many connections that have not signed in; come again in some seconds."
            raise Refused("TOO_MANY_CONNECTIONS", detail)
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

    async def address_of(self, peer: tuple[str, int], forwarded_for: Sequence[str]) -> str:
        """As uvicorn has it of an HTTP request: the peer's, or whom a trusted proxy asks for."""
        headers = [(b"x-forwarded-for", each.encode("latin-1", "replace")) for each in forwarded_for]
        scope: Any = {"type": "websocket", "scheme": "ws", "client": peer, "headers": headers}
        await self._proxies(scope, _nothing, _nothing)  # type: ignore[arg-type]
        return str(scope["client"][0])


def _counted(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100] or "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)


async def _nothing(*_asgi: Any) -> None:
    """The application behind the middleware: only what it makes of an address is wanted."""
