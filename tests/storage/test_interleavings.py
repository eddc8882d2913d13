"""Every interleaving of an account's steps, up to a depth, on real servers: the books hold after each."""

import os
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from config.settings import Settings
from domain.instruments import InstrumentKind
from domain.orders import Product, Side
from storage.database import Database, open_database
from tests.support.interleavings.account import opened
from tests.support.interleavings.scenario import Plan, Scenario, Step, filled, resting
from tests.support.interleavings.search import Found, search
from tests.support.interleavings.world import World

PRICE = 100_00
BUY_TWO = Plan(Side.BUY, 2, PRICE)
CHANGED = replace(BUY_TWO, changes=((1, PRICE), (3, PRICE + 1)))
SCENARIOS = {
    "a delivery purchase": (Scenario(Product.CNC, {"Y": CHANGED}, first=resting("Y"), most={"change": 2, "stops": 1}), 6),
    "an intraday purchase": (Scenario(Product.MIS, {"Y": CHANGED}, first=resting("Y"), most={"change": 2, "stops": 1}), 6),
    "two purchases close a short position": (
        Scenario(
            Product.MIS,
            {"Y": BUY_TWO, "S": Plan(Side.SELL, 2, PRICE), "X": BUY_TWO},
            first=(*resting("Y"), *resting("S"), *filled("S", 2), Step("place", "X")),
            most={"stops": 1},
        ),
        4,
    ),
    "an option": (
        Scenario(Product.NRML, {"Y": CHANGED}, kind=InstrumentKind.OPTION, first=resting("Y"), most={"change": 2, "stops": 1}), 5),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_it(name: str, servers: Settings, redis: Redis) -> None:
    scenario, depth = SCENARIOS[name]
    depth = int(os.environ.get("HUNDI_EXPLORE_DEPTH", depth))
    dsn = f"{servers.postgres_dsn}?options=-c%20synchronous_commit%3Doff"
    async with open_database(dsn, size=4) as database, opened(database, redis, scenario) as account:
        found = await search(World(database, redis, account, scenario), depth)
    print(name, found.states, "states", found.steps, "steps", found.seconds, [(len(f.path), f.seconds) for f in found.faults.values()])
    assert not found.faults, f"\n{found}"
