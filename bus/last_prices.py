"""The last traded price of an instrument, for whoever needs one now: asked of the tick bus, never remembered.

A gate knows a price only while the distributor is at work and the instrument's line is not silent; what is
not known is None, and the gate refuses. A portfolio shows what there is, and says that it is stale. The one
reader of last prices: the order worker, the API and the market watch ask it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.ticks import ALIVE, TICK, group_of, latest
from domain.instruments import Instrument


class Quote(NamedTuple):
    """In paise; before the first trade of the day the price is the previous close."""

    ltp: int
    previous_close: int
    stale: bool
    """The distributor or the instrument's line is silent."""


class LastPrices:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def price(self, instrument: Instrument) -> int | None:
        """In paise; None while it is not known for certain."""
        return (await self.prices([instrument])).get(instrument.instrument_id)

    async def prices(self, instruments: Sequence[Instrument]) -> dict[str, int]:
        """By instrument id, those that are known for certain, in one round trip."""
        quotes = zip(instruments, await self.quotes(instruments), strict=True)
        return {i.instrument_id: quote.ltp for i, quote in quotes if quote is not None and not quote.stale}

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote | None]:
        """One an instrument, in one round trip; None where there is none, or Redis is away."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(ALIVE)
                for instrument in instruments:
                    group = group_of(instrument.exchange, instrument.token)
                    pipe.hget(latest(group), str(instrument.token))
                alive, *found = await pipe.execute()
        except (RedisError, OSError):
            return [None] * len(instruments)
        return [_quote(packed, bool(alive)) for packed in found]


def _quote(packed: bytes | None, alive: bool) -> Quote | None:
    if packed is None or len(packed) != TICK.itemsize:
        return None
    row = np.frombuffer(packed, TICK)[0]
    if row["ltp"] <= 0:
        return None
    return Quote(int(row["ltp"]), int(row["previous_close"]), bool(row["stale"]) or not alive)
