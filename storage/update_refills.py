"""Refills of the kept order updates from the audit log, for gateways that say how far they got.

Invariant: an update that was committed reaches its user's sockets although Redis lost it, was away, or the
process that should have published it died first. Runs in the API's process; several may answer, the tail
holds each update once.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import psycopg
import structlog
from psycopg_pool import PoolTimeout
from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage import audit, updates
from storage.audit import OrderUpdate
from storage.background import running
from storage.database import Database

RETRY_SECONDS = 0.5
_decoder = msgspec.json.Decoder(list[updates.Cursor])
log = structlog.get_logger()


@asynccontextmanager
async def refilling(redis: Redis, database: Database) -> AsyncIterator[None]:
    """Answer gateways until the context is left."""
    async with running(_answer(redis, database), "update refills"):
        yield


async def missed(database: Database, cursors: Sequence[updates.Cursor]) -> dict[int, list[OrderUpdate]]:
    """The newest updates of each user who is behind his last committed one, as many as a tail keeps.

    A user of whom the gateway knows nothing is always in the answer, perhaps with no update.
    """
    async with database.reading() as conn:
        last = await audit.last_seqs(conn, [cursor.user_id for cursor in cursors])
        behind = {
            cursor.user_id: max(cursor.last_seq or 0, last[cursor.user_id] - updates.KEPT_UPDATES)
            for cursor in cursors
            if cursor.user_id in last and (cursor.last_seq is None or cursor.last_seq < last[cursor.user_id])
        }
        return {user_id: await audit.updates_after(conn, user_id, seq) for user_id, seq in behind.items()}


async def _answer(redis: Redis, database: Database) -> None:
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(updates.WANTED)
                async for message in pubsub.listen():
                    if message["type"] == "message" and (
                        found := await missed(database, _decoder.decode(message["data"]))
                    ):
                        await updates.refill(redis, found)
        except (RedisError, OSError, psycopg.OperationalError, PoolTimeout, msgspec.MsgspecError) as error:
            log.warning("update refill failed", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)
