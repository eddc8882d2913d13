"""The exchange gateway's process: two FIX sessions an exchange, one sender an exchange, one writer.

Users are pinned to a session by their id, so that a user's orders keep their order on the wire. Started by
`hundi gateway`; SIGTERM stops the senders, logs out and writes what has arrived.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog
import uvloop
from redis.asyncio import Redis

from bus import wakeups
from bus.background import running
from bus.health import Reporter, reporting
from bus.redis_client import open_redis
from config.settings import Settings, settings
from exchange.fix.fields import FixVersion
from exchange.fix.quickfix_bridge import FixSession
from exchange.fix.wire_log import directory as wire_log_directory
from exchange.gateway.fix_engine import FixEngine, FixLink
from exchange.gateway.kill_switch import Brake
from exchange.gateway.reject_breaker import RejectBreaker
from exchange.gateway.sender import Sender
from exchange.gateway.writer import Writer
from storage.database import Database, open_database
from storage.journals import inbox
from telemetry.process import telemetry

SENDERS = ((FixVersion.FIX50SP2, "HUNDI01"), (FixVersion.FIX42, "HUNDI02"))
"""Our CompIDs; `user_id % 2` chooses."""
HEALTH_SECONDS, LOGON_SECONDS = 0.5, 0.05
log = structlog.get_logger()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings().require("postgres_url", "redis_url", "fix_secret")
    with telemetry(settings(), "gateway"):
        uvloop.run(run(settings()))


async def run(config: Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with (
        open_database(config.postgres_dsn, size=6, application="gateway") as database,
        open_redis(config.redis_dsn) as redis,
        gateway(config, database, redis) as trunks,
    ):
        await _logged_on(trunks, stopped)
        async with reporting(redis, "gateway") as health:
            while not stopped.is_set():
                _describe(health, trunks)
                await _pause(stopped, HEALTH_SECONDS)


@asynccontextmanager
async def gateway(config: Settings, database: Database, redis: Redis) -> AsyncIterator[Sequence[FixLink]]:
    """The gateway at work, until the context is left; yields its sessions."""
    trunks = _trunks(config)
    senders: list[tuple[Sender, wakeups.Wakeup]] = []

    def may_send(repeat: bool) -> None:
        for sender, wakeup in senders:
            if repeat:
                sender.repeat_unknown()
            wakeup.set()

    writer = Writer(database, redis, may_send)
    line = FixEngine(trunks, writer.arrived, lambda _: may_send(True), config.fix_key)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_task(writer.run(), "writer"))
        # Left in reverse: senders stop, sessions log out, then what has arrived is written.
        stack.push_async_callback(writer.settled)
        stack.push_async_callback(asyncio.to_thread, line.close)
        for exchange in config.exchanges:
            wakeup = await stack.enter_async_context(wakeups.listening(redis, wakeups.outbox(exchange)))
            own = [t for t in trunks if t.exchange == exchange]
            brake = Brake(exchange, database, redis)
            senders.append((Sender(exchange, own, database, line, writer, brake), wakeup))
        wire_log = wire_log_directory(config.data_dir)
        line.open(config.host, _store(config), wire_log, await _next_inbound(database, trunks))
        for sender, wakeup in senders:
            await stack.enter_async_context(_task(sender.run(wakeup), f"sender {sender.exchange}"))
        yield trunks


def _trunks(config: Settings) -> list[FixLink]:
    return [
        FixLink(FixSession(version, sender, exchange), exchange, config.port("fix", index), RejectBreaker())
        for index, exchange in enumerate(config.exchanges)
        for version, sender in SENDERS
    ]


def _store(config: Settings) -> Path:
    """QuickFIX's sequence numbers and messages, kept for ever: a session is never reset."""
    store = config.data_dir / "fix" / "gateway"
    store.mkdir(parents=True, exist_ok=True)
    return store


async def _next_inbound(database: Database, trunks: Sequence[FixLink]) -> dict[str, int]:
    async with database.reading() as conn:
        return {t.session.name: await inbox.next_inbound(conn, t.session.name) for t in trunks}


async def _logged_on(trunks: Sequence[FixLink], stopped: asyncio.Event) -> None:
    while not stopped.is_set() and not all(t.logged_on_at is not None for t in trunks):
        await _pause(stopped, LOGON_SECONDS)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


def _describe(health: Reporter, trunks: Sequence[FixLink]) -> None:
    on = [t.session.name for t in trunks if t.logged_on_at is not None]
    paused = [t.session.name for t in trunks if t.breaker.is_paused]
    health.detail = f"{len(on)} of {len(trunks)} sessions: {', '.join(on)}" + (
        f"; paused: {', '.join(paused)}" if paused else ""
    )


@asynccontextmanager
async def _task(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """A background task; if it dies by a bug, the process dies with it rather than limping on."""
    async with running(work, name) as task:
        task.add_done_callback(_fatal)
        yield


def _fatal(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("part_died", part=task.get_name(), exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
