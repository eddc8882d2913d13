"""The margin of derivatives after every step of a random day: what the whole portfolio needs, reckoned from
scratch.
"""

from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from domain.orders import PlacedOrder, Product, Side
from domain.portfolio_margin import MarginedPosition, WorkingOrder, portfolio_margin
from domain.span import contract_key
from storage.database import Database
from tests.support.contracts import front_future, front_option
from tests.support.portfolios import master, parameters
from tests.support.trading_floor import TradingFloor, an_order

SHARE = "SBIN"
FUTURES = (front_future("NIFTY 50"), front_future("NIFTY BANK"))
OPTIONS = tuple(front_option("NIFTY 50", 26_000, kind) for kind in ("CE", "PE"))
SYMBOLS = (*FUTURES, *OPTIONS, SHARE)
LAKH = 1_00_000_00
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("place"),
            st.sampled_from(SYMBOLS),
            st.sampled_from(Side),
            st.integers(1, 4),
            st.booleans(),
        ),
        st.tuples(st.just("fill"), st.integers(0, 5), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("change"), st.integers(0, 5), st.integers(1, 5)),
        st.tuples(st.just("flush")),
    ),
    min_size=4,
    max_size=18,
)


class Account:
    """One account's random day; its books are reckoned from scratch after every step."""

    def __init__(self, floor: TradingFloor, user_id: int) -> None:
        self.floor, self.user_id = floor, user_id
        self.live: list[PlacedOrder] = []
        self.changes = 0

    async def place(self, symbol: str, side: Side, lots: int, intraday: bool) -> None:
        product = Product.MIS if intraday or symbol == SHARE else Product.NRML
        placed = await self.floor.acknowledged(self.user_id, an_order(side, symbol, lots, product=product))
        if await self.floor.submit(placed) == "passed":
            self.live.append(placed)

    async def fill(self, number: int, lots: int) -> None:
        if self.live:
            placed = self.live[number % len(self.live)]
            left = (await self.floor.order(placed))["quantity"] - self.floor.filled.get(placed.order_id, 0)
            quantity = min(left, lots * master()[placed.terms.instrument_id].lot_size)
            await self.floor.fill(placed, quantity)
            if quantity == left:
                self.live.remove(placed)

    async def cancel(self, number: int) -> None:
        if self.live:
            await self.floor.cancel(self.live.pop(number % len(self.live)))

    async def change(self, number: int, lots: int) -> None:
        if self.live:
            placed, self.changes = self.live[number % len(self.live)], self.changes + 1
            quantity = lots * master()[placed.terms.instrument_id].lot_size
            if quantity > self.floor.filled.get(placed.order_id, 0):
                await self.floor.change(placed, str(self.changes), quantity=quantity)

    async def flush(self) -> None:
        keys = [key async for key in self.floor.redis.scan_iter(f"margin:{{{self.user_id}}}*")]
        if keys:
            await self.floor.redis.delete(*keys)

    async def check(self) -> None:
        ledger = await self.floor.ledger(self.user_id)
        used, total, premium, pledged = await self.from_scratch()
        assert (ledger["portfolio_used"], ledger["portfolio_blocked"]) == (used, total - used)
        assert (ledger["blocked_margin"], ledger["used_margin"]) == (premium + total - used, pledged + used)
        assert ledger["available_cash"] >= 0
        view = await self.floor.view.account(self.user_id)
        if view is not None and view.generation == ledger["generation"]:
            figures = (view.blocked, view.used, view.portfolio_blocked, view.portfolio_used, view.available)
            names = ("blocked_margin", "used_margin", "portfolio_blocked", "portfolio_used", "available_cash")
            assert figures == tuple(ledger[name] for name in names)

    async def from_scratch(self) -> tuple[int, int, int, int]:
        """Used and total of the portfolio, the orders' own blocks, the positions' own margin."""
        held, working = defaultdict(list), defaultdict(list)
        positions = await self.floor.rows("SELECT * FROM positions WHERE user_id = %s", self.user_id)
        holds = await self.floor.rows("SELECT * FROM margin_holds WHERE user_id = %s", self.user_id)
        for row in positions:
            if (contract := contract_key(master()[row["instrument_id"]])) is not None:
                net = row["buy_quantity"] - row["sell_quantity"]
                held[row["product"]].append(MarginedPosition(contract, net))
                if contract.kind.is_option:
                    # What an option bought has cost is kept, to the paisa; nothing else of a derivative is.
                    assert row["margin"] == max(0, row["open_cost"])
        for row in holds:
            if (contract := contract_key(master()[row["instrument_id"]])) is not None:
                left = row["open_quantity"] + row["close_quantity"]
                working[row["product"]].append(WorkingOrder(contract, Side(row["transaction_type"]), left, 0))
        used = sum(_needs(held[product]) for product in ("MIS", "NRML"))
        total = sum(_needs(held[product], working[product]) for product in ("MIS", "NRML"))
        own = sum(row["open_quantity"] * row["unit_margin"] for row in holds)
        return used, total, own, sum(row["margin"] for row in positions)


def _needs(held: list[MarginedPosition], working: list[WorkingOrder] | None = None) -> int:
    margin = portfolio_margin(held, parameters(), working or [])
    assert margin is not None
    return margin.span + margin.exposure


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, lakhs=st.integers(3, 60))
async def test_blocked_and_used_are_what_the_portfolio_needs_after_every_step(
    steps: list[tuple[str, ...]], lakhs: int, database: Database, redis: Redis
) -> None:
    floor = TradingFloor(database, redis)
    account = Account(floor, await floor.account(lakhs * LAKH))
    for verb, *arguments in steps:
        await getattr(account, verb)(*arguments)
        await account.check()
