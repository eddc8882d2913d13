"""Before the open: every account's margin view is loaded, and one that stands is left alone."""

from redis.asyncio import Redis

from storage.database import Database
from storage.margin.view import MarginView
from storage.market import market_day
from tests.support.books import an_account


async def test_views_that_are_missing_are_loaded_and_others_left_alone(
    database: Database, redis: Redis
) -> None:
    view = MarginView(redis, database)
    warm, cold = await an_account(database, 100_00), await an_account(database, 200_00)
    stood = await view.rebuild(warm)
    assert await market_day.warm(database, view) >= 1
    loaded = await view.account(cold)
    assert loaded is not None and loaded.available == 200_00
    assert await view.account(warm) == stood
    assert await market_day.warm(database, view) == 0
