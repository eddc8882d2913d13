"""Questions of a gateway to the record, which it does not read itself: what came after its users' cursors.

Invariant: an answer counts for the question it answers, and for none that was asked later. What is asked at
the same time goes out as one message; what nobody heard is asked again by whoever still wants to know. Called
by realtime/stream/updates.py; answered by storage/update_refills.py.
"""

import asyncio
import secrets
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates
from bus.order_updates import Answer, Cursor, Question

HEAL_SECONDS = 5.0
"""How long a hole may hold up the updates behind it while Redis is there: the API may be starting."""
ANSWER_SECONDS = 0.5
"""How long an answer is waited for before the question is asked again."""
CURSORS_MAX = 1000
"""In one message."""


class _Query:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.number: int | None = None
        """Of the message it went out with."""
        self.last_seq: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class RecordQueries:
    """`run` must be under way, and `answered` called with every answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._number = secrets.randbits(48)
        """Other gateways count from elsewhere."""
        self._batch: list[_Query] = []
        self._is_due = asyncio.Event()
        self._open: dict[int, set[_Query]] = {}
        """By user."""
        self._lost_at = float("-inf")

    async def ask(self, cursor: Cursor) -> int | None:
        """The user's last seq on record, his tail refilled from the cursor; None: nobody has answered yet."""
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

    def answered(self, user_id: int, answer: Answer) -> None:
        for query in self._open.get(user_id, ()):
            if query.number == answer.number and not query.last_seq.done():
                query.last_seq.set_result(answer.last_seq)

    async def check(self, cursors: Sequence[Cursor]) -> None:
        """Have the tails refilled of those users who are behind; nobody waits for an answer."""
        for start in range(0, len(cursors), CURSORS_MAX):
            await self._send(Question(list(cursors[start : start + CURSORS_MAX])))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            batch, self._batch = self._batch, []
            for start in range(0, len(batch), CURSORS_MAX):
                part = batch[start : start + CURSORS_MAX]
                self._number += 1
                for query in part:
                    query.number = self._number
                await self._send(Question([query.cursor for query in part], self._number))

    async def _send(self, question: Question) -> None:
        try:
            await order_updates.want(self._redis, question)
        except (RedisError, OSError):
            self.lost()

    def lost(self) -> None:
        """Redis is away: no time has been lost on the record until it is back."""
        self._lost_at = asyncio.get_running_loop().time()

    def is_overdue(self, since: float) -> bool:
        """Whether what was wanted since then had HEAL_SECONDS to come."""
        return asyncio.get_running_loop().time() - max(since, self._lost_at) >= HEAL_SECONDS
