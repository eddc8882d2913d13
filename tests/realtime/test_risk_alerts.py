"""Alerts of the risk desk reach its sessions on either wire, and nobody else's."""

import time

from redis.asyncio import Redis

from config import tokens
from domain.events import AlertKind
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, a_token, plain, socket_io


async def test_an_alert_is_told_to_the_risk_desk_alone(gateway: GatewayProcess, redis: Redis) -> None:
    desk, _ = tokens.issue(gateway.settings, 7_900_001, "RISK01", "RISK", int(time.time()))
    client = a_token(gateway.settings, 7_900_002)
    async with socket_io(gateway, desk) as risk, plain(gateway) as also, socket_io(gateway, client) as other:
        await also.say(action="auth", token=desk)
        for told in (risk, also, other):
            await eventually(lambda told=told: told.of("session"))  # type: ignore[misc]
        alert = RiskAlert(
            AlertKind.MARGIN_DRIFT, "The margin view differed.", 7_900_002, {"client_id": "TEST"}
        )

        async def both_told() -> bool:
            await risk_alerts.tell(redis, [alert])
            return bool(risk.of("risk_alert")) and bool(also.of("risk_alert"))

        await eventually(both_told, every=0.3)
        frame = risk.of("risk_alert")[0]
        assert (frame["kind"], frame["sentence"]) == ("MARGIN_DRIFT", "The margin view differed.")
        assert (frame["user_id"], frame["client_id"]) == (7_900_002, "TEST")
        assert other.of("risk_alert") == []
