"""Health of our processes: the Redis key `health:<process>`, written while the process is ready.

It expires after `EXPIRES_SECONDS`, so a process that hangs or dies is known within them. Every worker opens
`reporting` once it can do its work; `hundi up`, `hundi status` and the tests read.
"""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.background import running

EVERY_SECONDS = 2
EXPIRES_SECONDS = 5
_PREFIX = "health:"


class Health(msgspec.Struct, frozen=True):
    """`detail` is one line for people: what the process is doing."""

    pid: int
    ready: bool
    since_ns: int
    detail: str = ""


class Reporter:
    """The process's own line of detail, shown by `hundi status`."""

    def __init__(self) -> None:
        self.detail = ""


@asynccontextmanager
async def reporting(redis: Redis, process: str) -> AsyncIterator[Reporter]:
    """Report `process` healthy from now until the context is left; set `.detail` to say more."""
    # What is loaded by now stays: the collector need not walk it again in the middle of an order.
    gc.freeze()
    reporter = Reporter()
    try:
        async with running(_beat(redis, process, reporter), f"health {process}"):
            yield reporter
    finally:
        with suppress(RedisError, OSError):
            await redis.delete(_PREFIX + process)


def read_one(redis: BlockingRedis, process: str) -> Health | None:
    """The health of one process, None when it does not report."""
    value = redis.get(_PREFIX + process)
    return msgspec.json.decode(value, type=Health) if isinstance(value, bytes) else None


def read_all(redis: BlockingRedis) -> dict[str, Health]:
    """Every reporting process by name."""
    names = sorted(key.decode().removeprefix(_PREFIX) for key in redis.scan_iter(f"{_PREFIX}*", count=1000))
    return {name: health for name in names if (health := read_one(redis, name)) is not None}


async def _beat(redis: Redis, process: str, reporter: Reporter) -> None:
    since_ns = time.time_ns()
    while True:
        health = Health(pid=os.getpid(), ready=True, since_ns=since_ns, detail=reporter.detail)
        with suppress(RedisError, OSError):
            await redis.set(_PREFIX + process, msgspec.json.encode(health), ex=EXPIRES_SECONDS)
        await asyncio.sleep(EVERY_SECONDS)
