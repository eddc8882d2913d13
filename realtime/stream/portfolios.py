"""Portfolios for the clients that watch their own: the books' part at every change, and the ticks beside it.

Invariant: a client that reads has the newest version within a second of its commit. The books' part is
requested again and again, so no lost message stays lost; a client that is behind gets the newest frame when
it has caught up. Clients compute P&L themselves (docs/pnl.md). Called by realtime/stream/gateway.py; answered
by api/portfolio_stream.py.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import portfolio_frames
from bus.portfolio_frames import Version
from bus.redis_client import Subscriber
from bus.stream_frames import MessageAnswer
from realtime.stream.clients import Client

REQUEST_SECONDS = 0.25
POLL_SECONDS, RETRY_SECONDS = 5.0, 0.2
VERSIONS_MAX = 1000
"""Versions in one request."""
_PREFIX = portfolio_frames.channel(0).removesuffix("0").encode()


class _PortfolioRow(msgspec.Struct):
    instrument_id: str


class _PortfolioPart(msgspec.Struct):
    """The members of a PortfolioFrame that the gateway itself reads."""

    version: int
    holdings: list[_PortfolioRow]
    positions: list[_PortfolioRow]


class _Portfolio:
    """The newest portfolio of one user."""

    def __init__(self) -> None:
        self.watchers: dict[Client, int] = {}
        """Clients that watch it, each with the version that it was sent."""
        self.version = -1
        self.frame = b""
        self.instruments: list[str] = []


_decode = msgspec.json.Decoder(_PortfolioPart).decode


class PortfolioStream:
    """The portfolios of connected users; `run` must be under way.

    `include(client, instrument_ids)` subscribes a client to the prices of these instruments.
    """

    def __init__(self, redis: Redis, include: Callable[[Client, Iterable[str]], None]) -> None:
        self._redis, self._include = redis, include
        self._portfolios: dict[int, _Portfolio] = {}
        self._pubsub: Subscriber | None = None
        self._is_due = asyncio.Event()

    async def watch(self, client: Client, _message: object) -> MessageAnswer:
        """Send the client its portfolio, now and after every change."""
        user_id = client.session.user_id
        portfolio = self._portfolios.get(user_id)
        if portfolio is None:
            portfolio = self._portfolios[user_id] = _Portfolio()
            # Before any await: a client that leaves meanwhile must be found by `unwatch`.
            portfolio.watchers[client] = -1
            await self._subscribe([user_id])
        else:
            portfolio.watchers[client] = -1
        self._is_due.set()
        return MessageAnswer(ok=True)

    async def unwatch(self, client: Client, _message: object = None) -> MessageAnswer:
        user_id = client.session.user_id
        if (portfolio := self._portfolios.get(user_id)) is not None:
            portfolio.watchers.pop(client, None)
            if not portfolio.watchers:
                del self._portfolios[user_id]
                if self._pubsub is not None:
                    with suppress(RedisError, OSError):
                        await self._pubsub.unsubscribe(portfolio_frames.channel(user_id))
        return MessageAnswer(ok=True)

    async def run(self) -> None:
        """Listen and request until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="portfolio frames")
            tasks.create_task(self._keep_fresh(), name="portfolio versions")

    async def _listen(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                async with Subscriber(self._redis) as self._pubsub:
                    await self._subscribe(self._portfolios)
                    while True:
                        message = await self._pubsub.get_message(timeout=POLL_SECONDS)
                        if message is not None and message["type"] == "message":
                            self._apply(int(message["channel"].removeprefix(_PREFIX)), message["data"])
                        elif message is not None and message["type"] == "subscribe":
                            self._is_due.set()
            self._pubsub = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribe(self, user_ids: Iterable[int]) -> None:
        """Subscribe to the users' channels; while Redis is away this is left to `run`."""
        if self._pubsub is not None and (channels := [portfolio_frames.channel(u) for u in user_ids]):
            with suppress(RedisError, OSError):
                await self._pubsub.subscribe(*channels)

    def _apply(self, user_id: int, frame: bytes) -> None:
        """Keep a frame that is newer than the last, and send it."""
        portfolio, part = self._portfolios.get(user_id), _decode(frame)
        if portfolio is not None and part.version > portfolio.version:
            portfolio.version, portfolio.frame = part.version, frame
            portfolio.instruments = [row.instrument_id for row in (*part.holdings, *part.positions)]
            self._send(portfolio)

    def _send(self, portfolio: _Portfolio) -> None:
        """Send the newest version to every watcher that has an older one and is not behind."""
        for client, version in portfolio.watchers.items():
            if version < portfolio.version and not client.wire.is_behind:
                portfolio.watchers[client] = portfolio.version
                client.wire.send("portfolio", portfolio.frame)
                self._include(client, portfolio.instruments)

    async def _keep_fresh(self) -> None:
        """Request newer versions, again and again, and send what clients that were behind have missed."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    await self._is_due.wait()
            self._is_due.clear()
            versions = [Version(user_id, each.version) for user_id, each in self._portfolios.items()]
            for start in range(0, len(versions), VERSIONS_MAX):
                await portfolio_frames.request(self._redis, versions[start : start + VERSIONS_MAX])
            for portfolio in self._portfolios.values():
                self._send(portfolio)
