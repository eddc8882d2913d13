"""The broker's own circuit breaker: a burst of rejects pauses a session until it proves alive.

More than 5% rejects within one second (of at least SAMPLE_MIN answers) pauses sending; a TestRequest goes
out, and its Heartbeat, not before the window has passed, resumes. Pure: time is passed in.
"""

from collections import deque
from dataclasses import dataclass, field

from domain.time import NANOS

WINDOW_NS = NANOS
SAMPLE_MIN = 40
REJECTS_MAX_PERCENT = 5


@dataclass(slots=True)
class RejectBreaker:
    """One session's answers of the last second."""

    paused_at_ns: int | None = None
    _answers: deque[tuple[int, bool]] = field(default_factory=deque)

    @property
    def is_paused(self) -> bool:
        return self.paused_at_ns is not None

    def answer(self, now_ns: int, *, rejected: bool) -> bool:
        """Count one answer; True when this one pauses the session."""
        self._answers.append((now_ns, rejected))
        while self._answers[0][0] <= now_ns - WINDOW_NS:
            self._answers.popleft()
        rejects = sum(was_rejected for _, was_rejected in self._answers) if rejected else 0
        too_many = rejects * 100 > REJECTS_MAX_PERCENT * len(self._answers)
        if self.is_paused or len(self._answers) < SAMPLE_MIN or not too_many:
            return False
        self.paused_at_ns = now_ns
        return True

    def may_resume(self, now_ns: int) -> bool:
        """The bad second is over; what remains is the counterparty's sign of life."""
        return self.paused_at_ns is not None and now_ns - self.paused_at_ns >= WINDOW_NS

    def resume(self) -> None:
        self.paused_at_ns = None
        self._answers.clear()
