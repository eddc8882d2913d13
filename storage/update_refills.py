"""Refills of the kept order updates from the audit log, on request of the gateways.

Invariant: a committed update reaches its user's sockets although Redis lost it, was away, or the process that
should have published it died first. Runs in the API's process; several may answer, the tail keeps each update
once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import order_updates
from bus.background import running
from bus.order_updates import KEPT_UPDATES, Refill, RefillRequest
from storage import audit
from storage.database import Database, StoreUnavailable

RETRY_SECONDS = 0.1
_decoder = msgspec.json.Decoder(RefillRequest)
log = structlog.get_logger()


@asynccontextmanager
async def refilling(redis: Redis, database: Database) -> AsyncIterator[None]:
    """Answer gateways until the context is left."""
    async with running(_answer(redis, database), "update refills"):
        yield


async def missed(database: Database, request: RefillRequest) -> dict[int, Refill]:
    """Return each user's newest updates after the cursor, as many as a tail keeps.

    The lower one of two cursors of a user counts. A user who is not behind is in the answer to a numbered
    request only; one without a known cursor gets the last seq and no updates.
    """
    cursors: dict[int, int | None] = {}
    for cursor in request.cursors:
        known = [seq for seq in (cursor.last_seq, cursors.get(cursor.user_id)) if seq is not None]
        cursors[cursor.user_id] = min(known, default=None)
    async with database.reading() as conn:
        found = {}
        for user_id, last_seq in (await audit.last_seqs(conn, list(cursors))).items():
            seq = cursors[user_id]
            if seq is not None and seq < last_seq:
                missing = await audit.updates_after(conn, user_id, max(seq, last_seq - KEPT_UPDATES))
                found[user_id] = Refill(last_seq, missing)
            elif request.number is not None:
                found[user_id] = Refill(last_seq, [])
        return found


async def _answer(redis: Redis, database: Database) -> None:
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(order_updates.WANTED)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        request = _decoder.decode(message["data"])
                        if found := await missed(database, request):
                            await order_updates.refill(redis, found, request.number)
        except (RedisError, OSError, StoreUnavailable, msgspec.MsgspecError) as error:
            log.warning("update_refill_failed", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)
