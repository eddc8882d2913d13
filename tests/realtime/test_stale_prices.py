"""A distributor that is not at work leaves old prices behind: whoever sees one is told that it is stale."""

from functools import partial

from redis.asyncio import Redis

from bus.last_prices import LastPrices
from bus.tick_bus import Publisher
from bus.ticks import ALIVE
from tests.realtime.test_ticks import RELIANCE, SBIN, TCS, USER, a_tick, publish, state
from tests.support.eventually import eventually
from tests.support.stream import GatewayProcess, Told, a_token, plain, socket_io

NAMES = ["NSE:RELIANCE", "NSE:TCS", "NSE:SBIN"]


def are(told: Told, *stale: bool) -> bool:
    """Whether the client knows the instruments as stale so."""
    known = state(told)
    return [known[name]["stale"] for name in NAMES if name in known] == list(stale)


async def test_the_stream_says_when_the_distributor_is_gone_and_when_it_is_back(
    gateway: GatewayProcess, redis: Redis
) -> None:
    # One exchange's line is silent by itself, and stays so.
    await publish(redis, a_tick(RELIANCE.token), a_tick(TCS.token), a_tick(SBIN.token, stale=1))
    await redis.set(ALIVE, b"")
    token = a_token(gateway.settings, USER)
    async with socket_io(gateway, token) as client, plain(gateway) as frames, plain(gateway) as late:
        await client.ask("subscribe", {"instruments": NAMES, "mode": "ltp"})
        await frames.ask("auth", token=token)
        await frames.ask("subscribe", instruments=NAMES, mode="full")
        for told in (client, frames):
            await eventually(partial(told.of, "snapshot"))
            await eventually(partial(are, told, False, False, True))
        ticks = [len(told.of("ticks")) for told in (client, frames)]
        await redis.delete(ALIVE)
        for told in (client, frames):
            await eventually(partial(are, told, True, True, True))
        quote = (await LastPrices(redis).quotes([RELIANCE]))[0]
        assert quote is not None and quote.stale, "as GET says"
        changed = client.of("ticks")[ticks[0] :]
        assert [set(element) for told in changed for element in told] == [
            {"instrument", "stale", "timestamp"}
        ] * 2, "nothing else has changed"
        await late.ask("auth", token=token)
        await late.ask("subscribe", instruments=NAMES, mode="quote")
        snapshot = (await eventually(partial(late.of, "snapshot")))[0]
        assert [element["stale"] for element in snapshot["snapshot"]] == [True, True, True]
        await Publisher(redis).beat()
        for told in (client, frames, late):
            await eventually(partial(are, told, False, False, True))
