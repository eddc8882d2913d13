"""What the clients of a soak were answered, kept as evidence: they write, the verdict reads."""

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.clients import Request


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """One answer to one request to cancel."""

    client_id: str
    order_id: str
    status: int
    code: str
    """Empty with a 202."""
    seconds: float
    at_ns: int = field(default_factory=time.time_ns)


@dataclass(frozen=True, slots=True)
class OwnRefused:
    """A refusal for want of shares or money that the client had been notified of as its own."""

    client_id: str
    order_id: str
    code: str
    of_what: str


@dataclass
class Journal:
    requests: list[Request] = field(default_factory=list)
    cancels: list[CancelAnswer] = field(default_factory=list)
    own_refused: list[OwnRefused] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    """Every other refusal of an order, by code."""
    changes: Counter[str] = field(default_factory=Counter)
    """Answers to changes: ACCEPTED or the code."""
    silences: list[str] = field(default_factory=list)
    """Orders of which nothing was heard in time; what became of them is seen at the end."""
    late_freezes: list[str] = field(default_factory=list)
    """Freezes that were to cancel what was pending, and did not within their time."""
    fills: int = 0
    freezes: int = 0
    unreachable: int = 0
    """Requests that the API's process did not answer at all."""

    @property
    def acknowledged(self) -> int:
        return sum(1 for request in self.requests if request.acknowledged)
