"""The last traded price of an instrument, for gates that need one now: asked of the tick bus, never
remembered.

A price is known only while the distributor is at work and the instrument's line is not silent; what is not
known is None, and the gate refuses. Called by the order worker.
"""

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.instruments import Instrument
from exchange.ticks import ALIVE, TICK, group_of, latest


class LastPrices:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def price(self, instrument: Instrument) -> int | None:
        """In paise; before the first trade of the day it is the previous close."""
        group = group_of(instrument.exchange, instrument.token)
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(ALIVE)
                pipe.hget(latest(group), str(instrument.token))
                alive, packed = await pipe.execute()
        except (RedisError, OSError):
            return None
        if not alive or packed is None or len(packed) != TICK.itemsize:
            return None
        row = np.frombuffer(packed, TICK)[0]
        return None if row["stale"] or row["ltp"] <= 0 else int(row["ltp"])
