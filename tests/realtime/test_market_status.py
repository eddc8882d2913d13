"""The exchange's session message reaches every client, and whoever connects later."""

import asyncio
import time

from redis.asyncio import Redis

from domain.reports import MarketPhase, SessionPhase
from exchange.gateway.writer import Writer
from storage.database import Database
from storage.journals.inbox_rows import Arrival
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, a_token, plain, socket_io

PHASES = (MarketPhase.PRE_OPEN_ENTRY, MarketPhase.CONTINUOUS)


async def test_a_phase_is_told_at_once_and_to_whoever_connects_later(
    gateway: GatewayProcess, database: Database, redis: Redis
) -> None:
    writer = Writer(database, redis, lambda _: None)
    writing = asyncio.create_task(writer.run())
    token = a_token(gateway.settings, 1)
    async with socket_io(gateway, token) as early:
        for number, phase in enumerate(PHASES):
            report = SessionPhase("XS", "CASH", phase, 1708012500123456789 + number)
            writer.arrived(Arrival("XS", "FIX.4.2:TEST->XS", number + 1, report, time.time_ns()))
            await writer.settled()
        await eventually(lambda: [body["phase"] for body in early.of("market_status")][-2:] == list(PHASES))
        assert early.of("market_status")[-1] == {
            "type": "market_status",
            "exchange": "XS",
            "segment": "CASH",
            "session_class": None,
            "phase": "CONTINUOUS",
            "since": "2024-02-15T15:55:00.123456790Z",
        }
    writing.cancel()
    async with socket_io(gateway, token) as late, plain(gateway) as frames:
        assert (await frames.ask("auth", token=token))["ok"]
        for client in (late, frames):
            await eventually(lambda client=client: client.of("market_status"))  # type: ignore[misc]
            assert "CONTINUOUS" in [body["phase"] for body in client.of("market_status")]
