"""Several realtime gateways side by side: any of them may come and go, its clients go on at another."""

import asyncio
from functools import partial

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from bus import order_updates
from bus.health import read_all
from config.settings import Settings
from tests.realtime.test_ticks import RELIANCE, a_tick, elements, publish
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, Told, a_token, an_update, plain, socket_io

USER = 7_800_000


def healthy(settings: Settings) -> dict[str, int]:
    with BlockingRedis.from_url(settings.redis_dsn) as redis:
        found = read_all(redis)
    return {name: health.pid for name, health in found.items() if name.startswith("realtime-")}


async def test_a_gateway_is_added_and_removed_while_clients_of_both_are_served(
    gateway: GatewayProcess, added: GatewayProcess, redis: Redis
) -> None:
    assert gateway.process is not None and added.process is not None
    both = {"realtime-0": gateway.process.pid, "realtime-1": added.process.pid}
    assert healthy(gateway.settings) == both, "each reports its own health"
    await redis.delete(order_updates.tail(USER))
    await order_updates.publish(redis, [an_update(USER, 1)])
    token = a_token(gateway.settings, USER)
    wanted = {"instruments": ["NSE:RELIANCE"]}

    async def tell(seq: int) -> None:
        await order_updates.publish(redis, [an_update(USER, seq)])
        await publish(redis, a_tick(RELIANCE.token, ltp=200_000 + seq))

    def is_told(told: Told, seq: int) -> bool:
        return told.seqs[-1:] == [seq] and 2000 + seq / 100 in [e.get("ltp") for _, e in elements(told)]

    async with socket_io(gateway, token) as stays:
        async with plain(added) as goes:
            await goes.ask("auth", token=token)
            await goes.ask("subscribe", **wanted)
            await stays.ask("subscribe", wanted)
            for told in (stays, goes):
                await eventually(lambda told=told: told.of("session") and told.of("snapshot"))  # type: ignore[misc]
            await tell(2)
            for told in (stays, goes):
                await eventually(partial(is_told, told, 2))
            await asyncio.to_thread(added.stop)
            await eventually(lambda: goes.websocket.closed)
            assert goes.websocket.close_code == 1012, "a restart: come again"
        left = {"realtime-0": gateway.process.pid}
        await eventually(lambda: healthy(gateway.settings) == left)
        await tell(3)
        async with plain(gateway) as again:
            await again.ask("auth", token=token, after_seq=goes.seqs[-1])
            await again.ask("subscribe", **wanted)
            for told in (stays, again):
                await eventually(partial(is_told, told, 3))
            assert again.seqs == [3] and stays.seqs == [2, 3]
        assert stays.reasons == []
