"""A token bucket: how long whoever asks too much has to wait.

A client that floods is not refused but slowed down: its next message is not read before it may be followed,
so that TCP holds it back and nobody else notices. Used by realtime/websocket/connection.py,
realtime/websocket/polling.py and realtime/stream/gateway.py.
"""

import asyncio


class TokenBucket:
    """`burst` units at once, then `rate` a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._at = 0.0

    async def keep(self, units: float = 1.0) -> bool:
        """Wait until the units may be spent; True when that took waiting."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - units
        self._at = now
        if self._left >= 0:
            return False
        await asyncio.sleep(-self._left / self._rate)
        return True
