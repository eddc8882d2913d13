"""Every order in which an account's steps can happen, up to a depth: the books hold after each step.

HUNDI_EXPLORE_DEPTH sets how many steps each path may have after a scenario's beginning; without it, as many
as a few seconds allow. A fault is printed as the shortest path to it, one step a line.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from config.settings import Settings
from domain.instruments import InstrumentKind
from domain.margin import Block
from domain.orders import PlacedOrder, Product, Side
from stack.cluster import superuser_dsn
from storage.database import Database, open_database
from storage.locks import lock_orders
from tests.support.interleavings.account import Account, opened
from tests.support.interleavings.scenario import Plan, Scenario, Step, filled, resting
from tests.support.interleavings.search import Found, search
from tests.support.interleavings.world import World

PRICE = 100_00
PURCHASE, SALE = Plan(Side.BUY, 2, PRICE), Plan(Side.SELL, 2, PRICE)
SMALLER, LARGER = (1, PRICE), (3, PRICE + 1)

CHANGED_TWICE = Scenario(
    Product.CNC,
    {"Y": replace(PURCHASE, changes=(SMALLER, LARGER))},
    first=resting("Y"),
    most={"change": 2, "stops": 1},
    depth=5,
)
CLOSED_BY_TWO = Scenario(
    Product.MIS,
    {"Y": PURCHASE, "S": replace(SALE, price=PRICE + 1), "X": PURCHASE},
    first=(*resting("Y"), *resting("S"), *filled("S", 2), Step("place", "X")),
    most={"stops": 1, "cancel": 1, "rebuild": 1},
    depth=4,
)
SCENARIOS: Mapping[str, Scenario] = {
    "a delivery purchase is changed twice": CHANGED_TWICE,
    "an option's purchase is changed twice": replace(
        CHANGED_TWICE, product=Product.NRML, kind=InstrumentKind.OPTION
    ),
    "two purchases close a short position": CLOSED_BY_TWO,
    "two sales are promised the same shares": Scenario(
        Product.CNC,
        {"Y": replace(SALE, changes=(SMALLER, (3, PRICE))), "X": SALE},
        shares=4,
        first=(*resting("Y"), Step("place", "X")),
        most={"change": 1, "stops": 1},
        depth=4,
    ),
    "the exchange trades more than there is": Scenario(
        Product.CNC,
        {"Y": replace(SALE, changes=(SMALLER,)), "X": SALE},
        shares=4,
        first=(*resting("Y"), Step("place", "X")),
        most={"change": 1, "cancel": 1, "overfill": 2},
        depth=3,
    ),
    "processes die and the view is rebuilt": Scenario(
        Product.NRML,
        {"Y": replace(SALE, changes=((3, PRICE),))},
        kind=InstrumentKind.FUTURE,
        first=(Step("place", "Y"),),
        most={"change": 1, "dies": 1, "again": 1, "rebuild": 1, "claim": 1},
        depth=6,
    ),
    "a change dies and a cancel overtakes it": Scenario(
        Product.CNC,
        {"Y": replace(PURCHASE, changes=(LARGER,))},
        first=resting("Y"),
        most={"change": 1, "dies": 1, "again": 1, "cancel": 1},
        depth=4,
    ),
    "the desk freezes the account": Scenario(
        Product.MIS,
        {"Y": replace(PURCHASE, changes=(LARGER,))},
        first=(Step("place", "Y"), Step("block", "Y")),
        most={"change": 1, "cancel": 1, "freeze": 1},
        depth=6,
    ),
}
DEPTH = os.environ.get("HUNDI_EXPLORE_DEPTH")


async def explored(
    scenario: Scenario, servers: Settings, redis: Redis, kind: type[Account] = Account
) -> Found:
    # What a power cut could take is not what is looked for.
    # Rows are put back that no role of ours may touch.
    dsn = f"{superuser_dsn(servers)}?options=-c%20synchronous_commit%3Doff"
    async with open_database(dsn, size=4) as database, opened(database, redis, scenario, kind) as account:
        return await search(World(database, redis, account, scenario), scenario.depth)


@pytest.mark.timeout(0 if DEPTH else 120)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_books_hold_after_each_step_of_any_interleaving(
    name: str, servers: Settings, redis: Redis
) -> None:
    scenario = SCENARIOS[name]
    found = await explored(replace(scenario, depth=int(DEPTH or scenario.depth)), servers, redis)
    print(f"{name}: {found.steps} steps, {found.states} states, {found.seconds:.1f} s")
    assert not found.faults, f"\n{found}"


class ReadsBeforeTheLock(Account):
    """Its changes write a hold as they read it before they locked the ledger."""

    async def change(
        self, database: Database, order: PlacedOrder, number: int, quantity: int, price: int
    ) -> None:
        hold = "SELECT open_quantity FROM margin_holds WHERE order_id = %s"
        async with database.transaction() as conn:
            await lock_orders(conn, [order.order_id])
            row = await (await conn.execute(hold, (order.order_id,))).fetchone()
            assert row is not None
            await conn.execute("SELECT FROM margin_ledger WHERE user_id = %s FOR UPDATE", (self.user_id,))
            await conn.execute(
                "UPDATE margin_holds SET open_quantity = %s WHERE order_id = %s",
                (row["open_quantity"], order.order_id),
            )


class BelievesTheView(Account):
    """Its orders close what the view has said that there is to close."""

    async def submit(self, database: Database, order: PlacedOrder, block: Block) -> None:
        opening = replace(block, open_quantity=order.terms.quantity, close_quantity=0)
        await super().submit(database, order, opening)
        async with database.transaction() as conn:
            await conn.execute(
                "WITH held AS (UPDATE margin_holds SET open_quantity = %s, close_quantity = %s"
                " WHERE order_id = %s RETURNING user_id, unit_margin * close_quantity AS freed)"
                " UPDATE margin_ledger l SET blocked_margin = blocked_margin - freed"
                " FROM held WHERE l.user_id = held.user_id",
                (block.open_quantity, block.close_quantity, order.order_id),
            )


PLANTED: Mapping[str, tuple[type[Account], Scenario, list[str]]] = {
    "a hold is read before the lock": (
        ReadsBeforeTheLock,
        replace(CHANGED_TWICE, depth=4),
        [
            "the exchange fills 1 of Y",
            "a change of Y to 1 at 10000 is asked, and stops before it locks the ledger",
            "Y is booked",
            "what was stopped goes on to its end",
        ],
    ),
    "the view's word is taken": (
        BelievesTheView,
        replace(CLOSED_BY_TWO, most={}),
        [
            "X's margin is blocked in the view",
            "the exchange fills 1 of Y",
            "Y is booked",
            "X is submitted to the ledger",
        ],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_fault_is_found_by_its_shortest_path(
    name: str, servers: Settings, redis: Redis
) -> None:
    kind, scenario, path = PLANTED[name]
    found = await explored(scenario, servers, redis, kind)
    assert [step.sentence for step in next(iter(found.faults.values())).path] == path
