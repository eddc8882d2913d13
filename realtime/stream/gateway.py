"""The realtime gateway: what a client may ask, whichever protocol it speaks, and what it is told unasked.

Invariant: a client is told of its own user's orders only, and of nothing after its session has expired. The
fronts (realtime/stream/socket_io.py, realtime/stream/plain_websocket.py) admit clients and pass on what they
say.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
from redis.asyncio import Redis

from config.settings import Settings
from config.tokens import Role, TokenRefused, verify
from domain.instruments import Instrument
from domain.time import NANOS, rfc3339
from realtime.stream import risk_alerts
from realtime.stream.clients import Client, Closing, Wire, encode
from realtime.stream.market_status import MarketStatusStream
from realtime.stream.messages import Auth, MessageRefused, Resume, read
from realtime.stream.portfolios import PortfolioStream
from realtime.stream.tick_fanout import TickFanout
from realtime.stream.updates import Updates

HEARTBEATS_AT_ONCE = 100
"""Written before other work comes in between."""
CONNECTIONS_MAX = 20
"""Of one user."""
RESUME_SECONDS = 2.0
"""How long the answer to a resume waits for the replay; the replay itself waits for Redis."""
UNKNOWN_SECONDS = 5.0
"""After which a client is told that it is not known yet where its order updates stand."""
Verb = Callable[[Client, object], Awaitable[dict[str, Any]]]
log = structlog.get_logger()


class Gateway:
    """`run` must be under way."""

    def __init__(self, settings: Settings, redis: Redis, instruments: Sequence[Instrument]) -> None:
        self._settings, self._redis = settings, redis
        self._updates = Updates(redis, settings.stream_heartbeat_seconds)
        self._market = MarketStatusStream(redis, self._announce)
        self._ticks = TickFanout(redis, instruments, settings.stream_behind_seconds)
        self._portfolios = PortfolioStream(redis, self._ticks.include)
        self.clients: set[Client] = set()
        self._connections: Counter[int] = Counter()
        """Of each user."""
        self.verbs: dict[str, Verb] = {
            "subscribe": self._ticks.subscribe,
            "unsubscribe": self._ticks.unsubscribe,
            "subscribe_portfolio": self._portfolios.watch,
            "unsubscribe_portfolio": self._portfolios.unwatch,
            "resume": self._resume,
        }
        """What a client may ask by name."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._updates.run(), name="order updates")
            tasks.create_task(self._market.run(), name="market status")
            tasks.create_task(self._ticks.run(), name="ticks")
            tasks.create_task(self._portfolios.run(), name="portfolios")
            tasks.create_task(self._heartbeat(), name="heartbeat")
            tasks.create_task(risk_alerts.follow(self._redis, self._alert), name="risk alerts")

    def admit(self, auth: object, wire: Wire) -> Client:
        """A client for whoever the token says it is. Raises Refused."""
        asked = read(Auth, auth)
        try:
            session = verify(self._settings, asked.token)
        except TokenRefused as refusal:
            raise MessageRefused("TOKEN_REFUSED", str(refusal)) from None
        if self._connections[session.user_id] >= CONNECTIONS_MAX:
            log.warning("too many connections", client_id=session.client_id)
            detail = f"There are {CONNECTIONS_MAX} connections of this client already."
            raise MessageRefused("TOO_MANY_CONNECTIONS", detail)
        client = Client(session, wire)
        self.clients.add(client)
        self._connections[session.user_id] += 1
        client.begin(self._begin(client, asked.after_seq))
        client.expire(session.expires_at - time.time())
        return client

    async def leave(self, client: Client) -> None:
        """The connection is gone."""
        if client in self.clients:
            self.clients.remove(client)
            self._connections[client.session.user_id] -= 1
            if not self._connections[client.session.user_id]:
                del self._connections[client.session.user_id]
            client.end()
            await self._updates.leave(client)
            await self._ticks.leave(client)
            await self._portfolios.unwatch(client)

    async def follow(self, client: Client, verb: Verb, said: object) -> dict[str, Any]:
        """The answer to a verb and what was said with it."""
        if await client.pace.keep(_units(said)) and not client.was_slowed_down:
            client.was_slowed_down = True
            log.warning("client is slowed down", client_id=client.session.client_id)
        try:
            if client not in self.clients:
                # It left while its message waited: what would be begun for it now would never end.
                raise MessageRefused("CONNECTION_ENDED", "The connection has ended.")
            return {"ok": True, **await verb(client, said)}
        except MessageRefused as refusal:
            return refusal.answer

    async def _resume(self, client: Client, said: object) -> dict[str, Any]:
        """Order updates again from a cursor; `seq` in the answer is the last one sent.

        It is null while that cannot be told: the updates follow, or the connection ends because the cursor is
        ahead of the record.
        """
        after_seq = read(Resume, said).after_seq
        replay = client.begin(self._replay(client, after_seq))
        await asyncio.wait({replay}, timeout=RESUME_SECONDS)
        if not replay.done():
            replay.add_done_callback(partial(_end_if_refused, client))
            return {"seq": None}
        return {"seq": replay.result()}

    async def _begin(self, client: Client, after_seq: int | None) -> None:
        for body in self._market.bodies:
            client.wire.send("market_status", body)
        loop = asyncio.get_running_loop()
        unknown = loop.call_later(UNKNOWN_SECONDS, _tell_session, client, None)
        try:
            _tell_session(client, await self._updates.join(client, after_seq))
        except MessageRefused:
            client.wire.close(Closing.CURSOR_AHEAD)
        finally:
            unknown.cancel()

    async def _replay(self, client: Client, after_seq: int) -> int:
        await client.joined()
        return await self._updates.replay(client, after_seq)

    async def _heartbeat(self) -> None:
        """Says that the connection lives, and the seq a client should have."""
        while True:
            await asyncio.sleep(self._settings.stream_heartbeat_seconds)
            for number, client in enumerate(list(self.clients)):
                if number % HEARTBEATS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                    now = rfc3339(time.time_ns())
                if not client.wire.is_behind:
                    seq = self._updates.last_seq(client.session.user_id)
                    client.wire.push("heartbeat", encode({"type": "heartbeat", "timestamp": now, "seq": seq}))

    def _alert(self, body: bytes) -> None:
        for client in self.clients:
            if client.session.role == Role.RISK:
                client.wire.send("risk_alert", body)

    def _announce(self, body: bytes) -> None:
        for client in self.clients:
            client.wire.send("market_status", body)


def _tell_session(client: Client, seq: int | None) -> None:
    expires_at = rfc3339(client.session.expires_at * NANOS)
    client.tell("session", client_id=client.session.client_id, expires_at=expires_at, seq=seq)


def _end_if_refused(client: Client, replay: "asyncio.Task[int]") -> None:
    """Of a resume whose answer is given already."""
    if not replay.cancelled() and isinstance(replay.exception(), MessageRefused):
        client.wire.close(Closing.CURSOR_AHEAD)


def _units(said: object) -> float:
    """The work that a message asks for."""
    instruments = said.get("instruments") if isinstance(said, dict) else None
    return 1 + (len(instruments) / 100 if isinstance(instruments, list) else 0)
