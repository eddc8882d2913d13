"""Answers realtime gateways that watch portfolios: a frame of the books for each that has a newer version.

The frames are the GETs' own answers, less the prices, which the stream's ticks carry. Runs in the API's
process; several may answer. Asked by realtime/stream/portfolios.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.portfolio_responses import Portfolio
from bus import portfolio_frames
from bus.background import running
from storage.books import queries
from storage.database import Database, StoreUnavailable

RETRY_SECONDS = 0.5
log = structlog.get_logger()


@asynccontextmanager
async def answering(redis: Redis, database: Database) -> AsyncIterator[None]:
    """Answer until the context is left."""
    async with running(_answer(redis, database), "portfolio frames"):
        yield


async def _answer(redis: Redis, database: Database) -> None:
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(portfolio_frames.WANTED)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        wanted = portfolio_frames.decode(message["data"])
                        rows = await queries.later(database, wanted, time.time_ns())
                        if frames := {row["user_id"]: _frame(row) for row in rows}:
                            await portfolio_frames.publish(redis, frames)
        except (RedisError, OSError, StoreUnavailable, msgspec.MsgspecError) as error:
            log.warning("portfolios_not_published", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


def _frame(row: dict[str, object]) -> bytes:
    return Portfolio.of(row).model_dump_json().encode()
