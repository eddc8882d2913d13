"""Refill requests to the record, which a gateway does not read itself: the updates after its users' cursors.

Invariant: an answer counts for its own request, and for none that was sent later. Simultaneous requests go
out as one message; the caller repeats one that got no answer. Called by realtime/stream/updates.py; answered
by storage/update_refills.py.
"""

import asyncio
import secrets
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates
from bus.order_updates import Cursor, RefillAnswer, RefillRequest

HEAL_SECONDS = 5.0
"""How long a hole may delay the updates behind it while Redis is there: the API may be starting."""
ANSWER_SECONDS = 0.5
"""How long to wait for an answer before the request is repeated."""
CURSORS_MAX = 1000
"""Cursors in one message."""


class _Query:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.number: int | None = None
        """The number of the message that it went out with."""
        self.last_seq: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class RecordQueries:
    """`run` must be under way, and `on_answer` must be called with every answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._number = secrets.randbits(48)
        """A random start, so that no other gateway uses the same numbers."""
        self._batch: list[_Query] = []
        self._is_due = asyncio.Event()
        self._open: dict[int, set[_Query]] = {}
        """Queries without an answer, by user."""
        self._lost_at = float("-inf")

    async def refill(self, cursor: Cursor) -> int | None:
        """Have a tail refilled from a cursor; return the last seq on record, None if no answer came."""
        query = _Query(cursor)
        self._batch.append(query)
        self._is_due.set()
        queries = self._open.setdefault(cursor.user_id, set())
        queries.add(query)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await query.last_seq
        except TimeoutError:
            return None
        finally:
            queries.discard(query)
            if not queries:
                del self._open[cursor.user_id]

    def on_answer(self, user_id: int, answer: RefillAnswer) -> None:
        for query in self._open.get(user_id, ()):
            if query.number == answer.number and not query.last_seq.done():
                query.last_seq.set_result(answer.last_seq)

    async def check(self, cursors: Sequence[Cursor]) -> None:
        """Have the tails of users who are behind refilled; waits for no answer."""
        for start in range(0, len(cursors), CURSORS_MAX):
            await self._send(RefillRequest(list(cursors[start : start + CURSORS_MAX])))

    async def run(self) -> None:
        """Send the queries until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            batch, self._batch = self._batch, []
            for start in range(0, len(batch), CURSORS_MAX):
                part = batch[start : start + CURSORS_MAX]
                self._number += 1
                for query in part:
                    query.number = self._number
                await self._send(RefillRequest([query.cursor for query in part], self._number))

    async def _send(self, request: RefillRequest) -> None:
        try:
            await order_updates.request_refill(self._redis, request)
        except (RedisError, OSError):
            self.redis_lost()

    def redis_lost(self) -> None:
        """Note that Redis is away: the time until it is back does not count against the record."""
        self._lost_at = asyncio.get_running_loop().time()

    def is_overdue(self, since: float) -> bool:
        """Whether an update that is missing since then had HEAL_SECONDS to come."""
        return asyncio.get_running_loop().time() - max(since, self._lost_at) >= HEAL_SECONDS
