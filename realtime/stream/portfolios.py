"""Portfolios to those who watch their own: what the books say at every change, and the ticks beside it.

Invariant: a client that reads has the newest version within a second of its commit. The books' part is asked
for again and again, so nothing that is lost on the way stays lost; a client that is behind gets the newest
frame when it has caught up. P&L is reckoned by clients (docs/pnl.md). Called by realtime/stream/gateway.py;
answered by api/portfolio_stream.py.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import portfolio_frames
from bus.portfolio_frames import Version
from bus.redis_client import Subscriber
from realtime.stream.clients import Client

ASK_SECONDS = 0.25
POLL_SECONDS, RETRY_SECONDS = 5.0, 0.2
VERSIONS_MAX = 1000
"""In one question."""
_PREFIX = portfolio_frames.channel(0).removesuffix("0").encode()


class _PortfolioRow(msgspec.Struct):
    instrument_id: str


class _PortfolioFrame(msgspec.Struct):
    """What the gateway itself reads of a portfolio."""

    version: int
    holdings: list[_PortfolioRow]
    positions: list[_PortfolioRow]


class _Portfolio:
    """One user's, and who watches it: for each client the version it was told."""

    def __init__(self) -> None:
        self.watchers: dict[Client, int] = {}
        self.version = -1
        self.body = b""
        self.instruments: list[str] = []


_decode = msgspec.json.Decoder(_PortfolioFrame).decode


class PortfolioStream:
    """`run` must be under way. `price(client, instrument_ids)` has a client told of these instruments."""

    def __init__(self, redis: Redis, price: Callable[[Client, Iterable[str]], None]) -> None:
        self._redis, self._price = redis, price
        self._portfolios: dict[int, _Portfolio] = {}
        self._pubsub: Subscriber | None = None
        self._ask = asyncio.Event()

    async def watch(self, client: Client, _said: object) -> dict[str, Any]:
        """The answer; the `portfolio` event follows, now and at every change."""
        user_id = client.session.user_id
        portfolio = self._portfolios.get(user_id)
        if portfolio is None:
            portfolio = self._portfolios[user_id] = _Portfolio()
            # Before anything is waited for: a client that leaves meanwhile is found and let go.
            portfolio.watchers[client] = -1
            await self._subscribe([user_id])
        else:
            portfolio.watchers[client] = -1
        self._ask.set()
        return {}

    async def unwatch(self, client: Client, _said: object = None) -> dict[str, Any]:
        user_id = client.session.user_id
        if (portfolio := self._portfolios.get(user_id)) is not None:
            portfolio.watchers.pop(client, None)
            if not portfolio.watchers:
                del self._portfolios[user_id]
                if self._pubsub is not None:
                    with suppress(RedisError, OSError):
                        await self._pubsub.unsubscribe(portfolio_frames.channel(user_id))
        return {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="portfolio frames")
            tasks.create_task(self._keep_asking(), name="portfolio versions")

    async def _listen(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                async with Subscriber(self._redis) as self._pubsub:
                    await self._subscribe(self._portfolios)
                    while True:
                        message = await self._pubsub.get_message(timeout=POLL_SECONDS)
                        if message is not None and message["type"] == "message":
                            self._take(int(message["channel"].removeprefix(_PREFIX)), message["data"])
                        elif message is not None and message["type"] == "subscribe":
                            self._ask.set()
            self._pubsub = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribe(self, user_ids: Iterable[int]) -> None:
        """A Redis that is away is asked by `run` when it is back."""
        if self._pubsub is not None and (channels := [portfolio_frames.channel(u) for u in user_ids]):
            with suppress(RedisError, OSError):
                await self._pubsub.subscribe(*channels)

    def _take(self, user_id: int, body: bytes) -> None:
        portfolio, frame = self._portfolios.get(user_id), _decode(body)
        if portfolio is not None and frame.version > portfolio.version:
            portfolio.version, portfolio.body = frame.version, body
            portfolio.instruments = [row.instrument_id for row in (*frame.holdings, *frame.positions)]
            self._tell(portfolio)

    def _tell(self, portfolio: _Portfolio) -> None:
        for client, version in portfolio.watchers.items():
            if version < portfolio.version and not client.wire.is_behind:
                portfolio.watchers[client] = portfolio.version
                client.wire.send("portfolio", portfolio.body)
                self._price(client, portfolio.instruments)

    async def _keep_asking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    await self._ask.wait()
            self._ask.clear()
            versions = [Version(user_id, each.version) for user_id, each in self._portfolios.items()]
            for start in range(0, len(versions), VERSIONS_MAX):
                await portfolio_frames.want(self._redis, versions[start : start + VERSIONS_MAX])
            for portfolio in self._portfolios.values():
                self._tell(portfolio)
