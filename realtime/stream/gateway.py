"""The realtime gateway: the actions of clients, whichever protocol they speak, and the frames they get.

Invariant: a client gets frames about its own user's orders only, and none after its session has expired. The
fronts (realtime/stream/socket_io.py, realtime/stream/plain_websocket.py) admit clients and hand on their
messages.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
from redis.asyncio import Redis

from bus.stream_frames import HeartbeatFrame, MessageAnswer, SessionFrame, encode
from config.settings import Settings
from config.tokens import Role, TokenRefused, verify
from domain.instruments import Instrument
from domain.time import NANOS, rfc3339
from realtime.stream import risk_alerts
from realtime.stream.clients import Client, Closing, Wire
from realtime.stream.market_status import MarketStatusStream
from realtime.stream.messages import Action, Auth, MessageRefused, Resume, read
from realtime.stream.portfolios import PortfolioStream
from realtime.stream.tick_fanout import TickFanout
from realtime.stream.updates import Updates

HEARTBEATS_AT_ONCE = 100
"""Heartbeats written before other work gets its turn."""
CONNECTIONS_MAX = 20
"""Connections of one user."""
RESUME_SECONDS = 2.0
"""How long the answer to a resume waits for the replay; the replay itself waits for Redis."""
UNKNOWN_SECONDS = 5.0
"""After this a client gets its `session` with `seq` null: the seq of its order updates is not known yet."""
Handler = Callable[[Client, object], Awaitable[MessageAnswer]]
log = structlog.get_logger()


class Gateway:
    """The clients of one process; `run` must be under way."""

    def __init__(self, settings: Settings, redis: Redis, instruments: Sequence[Instrument]) -> None:
        self._settings, self._redis = settings, redis
        self._updates = Updates(redis, settings.stream_heartbeat_seconds)
        self._market = MarketStatusStream(redis, self._send_market_status)
        self._ticks = TickFanout(redis, instruments, settings.stream_behind_seconds)
        self._portfolios = PortfolioStream(redis, self._ticks.include)
        self.clients: set[Client] = set()
        self._connections: Counter[int] = Counter()
        """Connections by user."""
        self.handlers: dict[str, Handler] = {
            Action.SUBSCRIBE: self._ticks.subscribe,
            Action.UNSUBSCRIBE: self._ticks.unsubscribe,
            Action.SUBSCRIBE_PORTFOLIO: self._portfolios.watch,
            Action.UNSUBSCRIBE_PORTFOLIO: self._portfolios.unwatch,
            Action.RESUME: self._resume,
        }
        """Handlers of a signed-in client's messages, by action."""

    async def run(self) -> None:
        """Serve the clients until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._updates.run(), name="order updates")
            tasks.create_task(self._market.run(), name="market status")
            tasks.create_task(self._ticks.run(), name="ticks")
            tasks.create_task(self._portfolios.run(), name="portfolios")
            tasks.create_task(self._heartbeat(), name="heartbeat")
            tasks.create_task(risk_alerts.listen(self._redis, self._send_alert), name="risk alerts")

    def admit(self, message: object, wire: Wire) -> Client:
        """Admit the client that an `auth` message is from, by its token. Raises MessageRefused."""
        auth = read(Auth, message)
        try:
            session = verify(self._settings, auth.token)
        except TokenRefused as refusal:
            raise MessageRefused("TOKEN_REFUSED", str(refusal)) from None
        if self._connections[session.user_id] >= CONNECTIONS_MAX:
            log.warning("too_many_connections", client_id=session.client_id)
            detail = f"There are {CONNECTIONS_MAX} connections of this client already."
            raise MessageRefused("TOO_MANY_CONNECTIONS", detail)
        client = Client(session, wire)
        self.clients.add(client)
        self._connections[session.user_id] += 1
        client.begin(self._begin(client, auth.after_seq))
        client.expire(session.expires_at - time.time())
        return client

    async def leave(self, client: Client) -> None:
        """Remove a client whose connection is gone."""
        if client in self.clients:
            self.clients.remove(client)
            self._connections[client.session.user_id] -= 1
            if not self._connections[client.session.user_id]:
                del self._connections[client.session.user_id]
            client.end()
            await self._updates.leave(client)
            await self._ticks.leave(client)
            await self._portfolios.unwatch(client)

    async def handle(self, client: Client, handler: Handler, message: object) -> MessageAnswer:
        """Handle a client's message, at the client's pace; return the answer."""
        if await client.pace.keep(_units(message)) and not client.was_slowed_down:
            client.was_slowed_down = True
            log.warning("client_slowed_down", client_id=client.session.client_id)
        try:
            if client not in self.clients:
                # It left while its message waited: tasks begun for it now would never end.
                raise MessageRefused("CONNECTION_ENDED", "The connection has ended.")
            return await handler(client, message)
        except MessageRefused as refusal:
            return refusal.answer

    async def _resume(self, client: Client, message: object) -> MessageAnswer:
        """Send the order updates after a cursor again; `seq` in the answer is the last one sent.

        It is null while that is not known: then the updates come later, or the connection ends because the
        cursor is ahead of the record.
        """
        after_seq = read(Resume, message).after_seq
        replay = client.begin(self._replay(client, after_seq))
        await asyncio.wait({replay}, timeout=RESUME_SECONDS)
        if not replay.done():
            replay.add_done_callback(partial(_end_if_refused, client))
            return MessageAnswer(ok=True, seq=None)
        return MessageAnswer(ok=True, seq=replay.result())

    async def _begin(self, client: Client, after_seq: int | None) -> None:
        for frame in self._market.frames:
            client.wire.send("market_status", frame)
        loop = asyncio.get_running_loop()
        unknown = loop.call_later(UNKNOWN_SECONDS, _send_session, client, None)
        try:
            _send_session(client, await self._updates.join(client, after_seq))
        except MessageRefused:
            client.wire.close(Closing.CURSOR_AHEAD)
        finally:
            unknown.cancel()

    async def _replay(self, client: Client, after_seq: int) -> int:
        await client.joined()
        return await self._updates.replay(client, after_seq)

    async def _heartbeat(self) -> None:
        """Send every client a sign of life and the seq that it should have."""
        while True:
            await asyncio.sleep(self._settings.stream_heartbeat_seconds)
            for number, client in enumerate(list(self.clients)):
                if number % HEARTBEATS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                    now = rfc3339(time.time_ns())
                if not client.wire.is_behind:
                    seq = self._updates.last_seq(client.session.user_id)
                    client.wire.push("heartbeat", encode(HeartbeatFrame(timestamp=now, seq=seq)))

    def _send_alert(self, frame: bytes) -> None:
        for client in self.clients:
            if client.session.role == Role.RISK:
                client.wire.send("risk_alert", frame)

    def _send_market_status(self, frame: bytes) -> None:
        for client in self.clients:
            client.wire.send("market_status", frame)


def _send_session(client: Client, seq: int | None) -> None:
    expires_at = rfc3339(client.session.expires_at * NANOS)
    frame = SessionFrame(client_id=client.session.client_id, expires_at=expires_at, seq=seq)
    client.wire.send("session", encode(frame))


def _end_if_refused(client: Client, replay: "asyncio.Task[int]") -> None:
    """End the connection when a resume fails after its answer was given."""
    if not replay.cancelled() and isinstance(replay.exception(), MessageRefused):
        client.wire.close(Closing.CURSOR_AHEAD)


def _units(message: object) -> float:
    """The units of work that a message asks for."""
    instruments = message.get("instruments") if isinstance(message, dict) else None
    return 1 + (len(instruments) / 100 if isinstance(instruments, list) else 0)
