"""The sweep over a real Temporal: what is missing begins again, once, and nothing else does."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.service import RPCError

from config.settings import Settings
from domain.orders import PlacedOrder
from storage.database import Database
from storage.orders import unfinished
from storage.orders.cancellations import CancelledBy
from storage.orders.canceller import OrderCanceller
from tests.support.eventually import eventually
from tests.support.stories import Stories, exchange_listed
from workers import story_sweep
from workers.story_sweep import StorySweep
from workflow_api import contracts
from workflow_api.payloads import DATA_CONVERTER

ORDERS = 7


@pytest.fixture
async def stories(servers: Settings, database: Database, redis: Redis) -> AsyncIterator[Stories]:
    temporal = await Client.connect(
        servers.temporal_target, namespace=servers.temporal_namespace, data_converter=DATA_CONVERTER
    )
    async with exchange_listed(database):
        yield Stories(database, redis, temporal)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of orders that were started just now; in small pages, past all that other tests have left."""
    monkeypatch.setattr(story_sweep, "SETTLED_NS", 0)
    monkeypatch.setattr(story_sweep, "PAGE", 3)
    monkeypatch.setattr(story_sweep, "PAGES_AT_ONCE", 10_000)


async def lost(stories: Stories, number: int = ORDERS) -> list[PlacedOrder]:
    """Orders that were handed to Temporal, which knows nothing of them."""
    user_id = await stories.client()
    orders = [await stories.place(user_id) for _ in range(number)]
    for placed in orders:
        await stories.started(placed)
    return orders


async def runs(stories: Stories, placed: PlacedOrder) -> list[str]:
    """The run id of each story of the order that Temporal lists as running."""
    name = contracts.order_workflow_id(placed.order_id)
    query = f"WorkflowId = '{name}' AND ExecutionStatus = 'Running'"
    return [one.run_id async for one in stories.temporal.list_workflows(query)]


async def sweep(stories: Stories) -> None:
    """One round of it."""
    await StorySweep(stories.temporal, stories.database).sweep()


@pytest.mark.usefixtures("at_once")
async def test_every_lost_story_begins_again_once_however_many_sweep(stories: Stories) -> None:
    orders = await lost(stories)
    await asyncio.gather(*(sweep(stories) for _ in range(3)))

    async def all_listed() -> dict[int, list[str]]:
        found = {placed.order_id: await runs(stories, placed) for placed in orders}
        return found if all(found.values()) else {}

    first = await eventually(all_listed)
    assert {len(runs_) for runs_ in first.values()} == {1}
    await sweep(stories)
    assert await all_listed() == first, "a story that runs was begun again"
    (one, *_) = orders
    await stories.temporal.get_workflow_handle(contracts.order_workflow_id(one.order_id)).terminate()
    await sweep(stories)
    again = await eventually(all_listed)
    assert again[one.order_id] != first[one.order_id]


@pytest.mark.usefixtures("at_once")
async def test_what_is_finished_or_was_never_started_is_left_alone(stories: Stories) -> None:
    (ended,) = await lost(stories, 1)
    canceller = OrderCanceller(stories.database, stories.redis)
    await canceller.cancel([ended.order_id], CancelledBy("client"))
    waiting = await stories.place(await stories.client())
    for placed in (ended, waiting):
        assert not await unfinished.read(stories.database, [placed.order_id])
    await sweep(stories)
    for placed in (ended, waiting):
        with pytest.raises(RPCError):
            await stories.temporal.get_workflow_handle(
                contracts.order_workflow_id(placed.order_id)
            ).describe()


async def test_candidates_come_in_pages_and_only_once_they_have_settled(stories: Stories) -> None:
    orders = [placed.order_id for placed in await lost(stories, 4)]
    now = time.time_ns()
    seen: list[Any] = []
    after = min(orders) - 1
    while page := await unfinished.candidates(stories.database, after, now, 2):
        assert len(page) <= 2
        seen += page
        after = page[-1]
    assert [order_id for order_id in seen if order_id in orders] == orders
    early = await unfinished.candidates(stories.database, min(orders) - 1, now - 60 * 10**9, 1_000)
    assert not set(orders) & set(early)
