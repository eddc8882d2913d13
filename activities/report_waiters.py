"""Orders whose booking step waits a moment for the exchange: a report told here saves a signal.

A signal costs the Temporal server three transactions, and most orders are answered within milliseconds of
leaving. Only a hint, in this process alone: a report that nobody waits for is signalled, and one whose step
dies with the process is told again (storage/journals/order_queue.py). Called by the steps and the order
worker.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bus.wakeups import Wakeup

EXPECTED_SECONDS = 2.0
"""Between submitting and booking; a booking that went to another process never comes."""


class ReportWaiters:
    """One a process; every call is on its event loop."""

    def __init__(self) -> None:
        self._hints: dict[int, Wakeup] = {}

    def expect(self, order_id: int) -> None:
        """From now on reports of the order are kept for the booking step, which is about to run."""
        hint = self._hints.setdefault(order_id, Wakeup())
        asyncio.get_running_loop().call_later(EXPECTED_SECONDS, self._forget, order_id, hint)

    @contextmanager
    def listening(self, order_id: int) -> Iterator[Wakeup]:
        """The order's hints. A hint that is pending at the end has not been acted on."""
        hint = self._hints.pop(order_id, None) or Wakeup()
        # A fresh key: the expectation's timer must not end a listening.
        listened = self._hints[order_id] = Wakeup()
        if hint.pending:
            listened.set()
        try:
            yield listened
        finally:
            self._forget(order_id, listened)

    def tell(self, order_id: int) -> bool:
        """True when a step waits for this order: it will book what is due."""
        hint = self._hints.get(order_id)
        if hint is None:
            return False
        hint.set()
        return True

    def _forget(self, order_id: int, hint: Wakeup) -> None:
        if self._hints.get(order_id) is hint:
            del self._hints[order_id]
