"""What a stranger may cost our HTTP servers: bytes and seconds of a request, connections by address.

Enforced by workers/http_protocol.py, in the API's process and the stream's. One process, one event loop: no
locks. An IPv6 client has a whole /64 to itself, so that is its address here.
"""

import resource
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from config.settings import Settings
from config.trusted_proxies import TrustedProxies
from domain.addresses import network_of
from domain.problem_documents import ProblemCode

OWN_FILES = 200
"""File descriptors that a process needs beside its clients' connections."""
REPORT_SECONDS = 10
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Of one server. Connections come from the settings, the rest is what no honest client comes near."""

    connections: int = 10_000
    connections_per_address: int = 500
    head_bytes: int = 16 * 1024
    """Request line and headers."""
    head_seconds: float = 10
    body_bytes: int = 64 * 1024
    """What a route takes may be less (api/body.py)."""
    body_seconds: float = 15
    idle_seconds: float = 75
    """Longer than clients and proxies keep an idle connection, so that they close it and not we."""
    answer_seconds: float = 60
    """How long a client may leave an answer unread."""
    goodbye_seconds: float = 2
    """How long a refused client is still listened to, unheard, so that it reads why."""
    goodbye_bytes: int = 1024 * 1024
    turned_away: int = 64
    """Connections beyond the limits that are told so at a time; more are cut."""
    requests_waiting: int = 32
    """Sent before the answers to those before them came (pipelining)."""


def http_limits(settings: Settings) -> HttpLimits:
    return HttpLimits(settings.connections, settings.connections_per_address)


class Connections:
    """Who is connected, by address; whom a trusted proxy speaks for counts while it is served."""

    def __init__(self, limits: HttpLimits, trusted_proxies: Iterable[str] = ()) -> None:
        self.limits = limits
        self.most = min(limits.connections, _files() - OWN_FILES)
        self.proxies = TrustedProxies(trusted_proxies)
        self.turned_away = 0
        """Connections that are told that there are too many."""
        self._by_address: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._reported_at = -float(REPORT_SECONDS)
        self._last: dict[str, str] = {}

    def enter(self, address: str) -> str | None:
        """The name to give to `leave`; None: the address has as many connections as it may have."""
        name = network_of(address)
        if self._by_address[name] >= self.limits.connections_per_address:
            return None
        self._by_address[name] += 1
        return name

    def leave(self, *names: str) -> None:
        for name in names:
            self._by_address[name] -= 1
            if not self._by_address[name]:
                del self._by_address[name]

    def note(self, code: ProblemCode, address: str, trace_id: str) -> None:
        """A refusal, told by `report`: strangers fill no disk with lines of theirs."""
        self._refused[code] += 1
        self._last = {"last_address": address, "last_trace_id": trace_id}

    def report(self, now: float) -> None:
        """Log what was refused since the last time, at most each REPORT_SECONDS."""
        if self._refused and now - self._reported_at >= REPORT_SECONDS:
            log.warning("requests_refused_unread", **self._refused, **self._last)
            self._refused.clear()
            self._reported_at = now


def _files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
