"""The Lua margin book beside its Python twin: the same random steps, the state compared after each.

Plus what only the real servers can show: racing clients, and a Redis that loses everything.
"""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from domain.margin import (
    Account,
    BlockOutcome,
    Hold,
    ResizeOutcome,
    Use,
    position_key,
    use_of_fill,
)
from domain.margin_book import MarginBook as Twin
from domain.orders import Product, Side
from storage.database import Database
from storage.margin.view import FillStep, MarginView, ReleaseStep, RemarginStep, ResizeStep

CASH = 10_00_000
POSITIONS = ("NSE:RELIANCE|MIS", "NSE:TCS|MIS", "NSE:RELIANCE|CNC")
_users = itertools.count(900_000)

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("block"),
            st.integers(1, 8),
            st.sampled_from(Side),
            st.sampled_from(POSITIONS),
            st.integers(1, 100),
            st.integers(0, 20_000),
        ),
        st.tuples(st.just("fill"), st.integers(1, 8), st.integers(1, 100), st.integers(-5_000, 5_000)),
        st.tuples(st.just("repeat"), st.integers(1, 8)),
        st.tuples(st.just("release"), st.integers(1, 8)),
        st.tuples(st.just("stale"), st.integers(1, 8)),
        st.tuples(
            st.just("resize"),
            st.integers(1, 8),
            st.integers(0, 20_000),
            st.integers(1, 150),
            st.booleans(),
        ),
        st.tuples(
            st.just("remargin"),
            st.integers(0, 2),
            st.integers(0, 5_00_000),
            st.integers(0, 5_00_000),
            st.booleans(),
        ),
    ),
    min_size=1,
    max_size=40,
)


class Pair:
    """The book and its twin, driven by the same steps, compared after each."""

    def __init__(self, book: MarginView, redis: Redis, user_id: int) -> None:
        self.book, self.redis, self.user_id = book, redis, user_id
        self.twin = Twin()
        self.margin: dict[str, int] = {}
        self.last_fill: dict[int, tuple[str, Use, Hold]] = {}
        self.fills = itertools.count(1)

    async def block(self, order_id: int, side: Side, position: str, quantity: int, unit: int) -> None:
        nets, repeated = not position.endswith("CNC"), order_id in self.twin.blocks
        twin = self.twin.block(order_id, side, position, nets, quantity, unit)
        assert await self.book.block(self.user_id, order_id, side, position, nets, quantity, unit) == twin
        blocked_now = twin.outcome is BlockOutcome.BLOCKED and not repeated
        assert self.account.available >= 0 or not blocked_now or twin.required == 0

    async def fill(self, order_id: int, quantity: int, profit: int) -> None:
        hold = self.twin.holds.get(order_id)
        if hold is None or not hold.open_quantity + hold.close_quantity:
            return
        quantity = min(quantity, hold.open_quantity + hold.close_quantity)
        net = self.twin.net.get(hold.position, 0)
        realised = profit if hold.close_quantity else 0
        margin = self.margin.get(hold.position, 0)
        use = use_of_fill(hold, quantity, hold.unit_margin // 2, net, margin, realised)
        self.margin[hold.position] = margin + use.used
        opening, closing = hold.open_quantity - use.open_quantity, hold.close_quantity - use.close_quantity
        left = replace(hold, open_quantity=opening, close_quantity=closing)
        self.last_fill[order_id] = (f"E{next(self.fills)}", use, left)
        assert await self.apply_last(order_id, self.account.generation) is True

    async def repeat(self, order_id: int) -> None:
        if order_id in self.last_fill:
            assert await self.apply_last(order_id, self.account.generation) is False

    async def stale(self, order_id: int) -> None:
        if order_id in self.last_fill:
            assert await self.apply_last(order_id, self.account.generation - 1) is False

    async def release(self, order_id: int) -> None:
        freed = self.twin.release(order_id, self.account.generation)
        step = ReleaseStep(self.user_id, order_id, self.account.generation)
        assert await self.book.follow([step]) == [freed]

    async def resize(self, order_id: int, unit: int, quantity: int, covered: bool) -> None:
        hold = self.twin.holds.get(order_id)
        if hold is None or not hold.open_quantity + hold.close_quantity:
            return
        closing = min(hold.close_quantity, quantity)
        to = replace(hold, unit_margin=unit, open_quantity=quantity - closing, close_quantity=closing)
        generation = self.account.generation
        step = ResizeStep(self.user_id, order_id, to, generation)
        for _ in range(2):
            before = self.account.available
            twin = self.twin.resize(order_id, to, generation, must_be_covered=covered)
            if covered:
                assert await self.book.resize(step) == twin
                assert self.account.available >= min(before, 0)
            else:
                assert await self.book.follow([step]) == [twin[0] is ResizeOutcome.RESIZED]
        late = self.twin.resize(order_id, to, generation - 1, must_be_covered=covered)
        assert await self.book.resize(step._replace(generation=generation - 1)) == late

    async def remargin(self, later: int, blocked: int, used: int, covered: bool) -> None:
        """Of the same transaction, of a later one, and of an earlier one that comes too late."""
        version, generation = self.account.portfolio_version + later, self.account.generation
        for number in (version, version - 1):
            before = self.account.available
            twin = self.twin.remargin(blocked, used, number, generation, must_be_covered=covered)
            step = RemarginStep(self.user_id, blocked, used, number, generation)
            if covered:
                assert await self.book.remargin(step) == twin
                assert self.account.available >= min(before, 0)
            else:
                assert await self.book.follow([step]) == [twin[0] is ResizeOutcome.RESIZED]
        late = RemarginStep(self.user_id, blocked, used, version + 1, generation - 1)
        assert await self.book.remargin(late) == (ResizeOutcome.VOID, 0)

    async def apply_last(self, order_id: int, generation: int) -> bool:
        fill_id, use, left = self.last_fill[order_id]
        twin = self.twin.fill(fill_id, order_id, use, left, generation)
        step = FillStep(self.user_id, order_id, fill_id, use, left, generation)
        assert await self.book.follow([step]) == [twin]
        return twin

    @property
    def account(self) -> Account:
        assert self.twin.account is not None
        return self.twin.account

    async def assert_same(self) -> None:
        assert await self.book.account(self.user_id) == self.twin.account
        raw: dict[Any, Any] = await self.redis.hgetall(f"margin:{{{self.user_id}}}:positions")
        standing = {key.decode(): int(value) for key, value in raw.items() if int(value)}
        twin = {key: net for key, net in self.twin.net.items() if net}
        twin |= {f"{key}|{side}": n for (key, side), n in self.twin.reserved.items() if n}
        assert standing == twin
        held = sum(hold.blocked for hold in self.twin.holds.values())
        assert self.account.blocked == held + self.account.portfolio_blocked


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(  # A block that is asked for again after a resize is answered as the first time.
    steps=[
        ("block", 1, Side.BUY, "NSE:RELIANCE|MIS", 1, 0),
        ("resize", 1, 1, 1, False),
        ("block", 1, Side.BUY, "NSE:RELIANCE|MIS", 1, 0),
    ]
)
async def test_the_scripts_and_their_twin_agree_after_every_step(
    steps: list[tuple[str, ...]], database: Database, redis: Redis
) -> None:
    user_id = next(_users)
    await open_account(database, user_id, CASH)
    pair = Pair(MarginView(redis, database), redis, user_id)
    pair.twin.load(await pair.book.rebuild(user_id), {}, {})
    for verb, *arguments in steps:
        await getattr(pair, verb)(*arguments)
        await pair.assert_same()


async def test_of_64_racing_clients_exactly_two_spend_the_lakh(database: Database, redis: Redis) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 1_00_000_00)
    book = MarginView(redis, database)
    blocks = await asyncio.gather(
        *(book.block(user_id, n, Side.BUY, "NSE:TCS|CNC", False, 100, 500_00) for n in range(64))
    )
    assert [block.outcome for block in blocks].count(BlockOutcome.BLOCKED) == 2
    account = await book.account(user_id)
    assert account is not None
    assert (account.available, account.blocked) == (0, 1_00_000_00)


async def test_a_lost_view_is_rebuilt_from_the_ledger_before_the_next_answer(
    database: Database, redis: Redis
) -> None:
    user_id = next(_users)
    await open_account(database, user_id, 1_00_000_00)
    await hold_in_ledger(database, user_id, order_id=user_id * 100, quantity=100, unit=600_00)
    book = MarginView(redis, database)
    before = await book.rebuild(user_id)
    await redis.delete(f"margin:{{{user_id}}}", f"margin:{{{user_id}}}:positions")

    refused = await book.block(user_id, 1, Side.BUY, "NSE:TCS|CNC", False, 100, 500_00)

    assert refused.outcome is BlockOutcome.INSUFFICIENT
    assert refused.available == 40_000_00
    assert refused.generation > before.generation
    standing = await book.block(user_id, user_id * 100, Side.BUY, "NSE:TCS|CNC", False, 100, 600_00)
    assert standing.outcome is BlockOutcome.BLOCKED
    given_back = ReleaseStep(user_id, user_id * 100, refused.generation)
    assert await book.follow([given_back, given_back]) == [60_000_00, 0]


async def test_closing_a_position_needs_no_margin_and_is_promised_once(
    database: Database, redis: Redis
) -> None:
    user_id = next(_users)
    await open_account(database, user_id, CASH)
    book, key = MarginView(redis, database), position_key("NSE:TCS", Product.MIS)
    bought = await book.block(user_id, 1, Side.BUY, key, True, 100, 700)
    hold = Hold(Side.BUY, key, True, 700, 100, 0)
    use, left = use_of_fill(hold, 100, 650, 0, 0, 0), replace(hold, open_quantity=0)
    assert await book.follow([FillStep(user_id, 1, "E1", use, left, bought.generation)]) == [1]

    first = await book.block(user_id, 2, Side.SELL, key, True, 80, 700)
    second = await book.block(user_id, 3, Side.SELL, key, True, 80, 700)

    assert (first.open_quantity, first.close_quantity, first.required) == (0, 80, 0)
    assert (second.open_quantity, second.close_quantity, second.required) == (60, 20, 42_000)


def test_an_account_counts_losses_at_once_and_profits_later() -> None:
    account = Account(cash=1000, blocked=100, used=200)
    assert replace(account, realized_pnl=-50).available == 650
    assert replace(account, realized_pnl=50).available == 700


async def open_account(database: Database, user_id: int, cash: int) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            """INSERT INTO users (user_id, client_id, full_name, password_hash, role, created_at_ns)
               VALUES (%s, %s, 'A test account', '!', 'CLIENT', 0)""",
            (user_id, f"TEST{user_id}"),
        )
        await conn.execute("INSERT INTO update_sequences (user_id) VALUES (%s)", (user_id,))
        await conn.execute(
            "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 0)", (user_id, cash)
        )


async def hold_in_ledger(
    database: Database, user_id: int, *, order_id: int, quantity: int, unit: int
) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            """INSERT INTO margin_holds (order_id, user_id, instrument_id, product, transaction_type,
                                         unit_margin, open_quantity, close_quantity)
               VALUES (%s, %s, 'NSE:TCS', 'CNC', 'BUY', %s, %s, 0)""",
            (order_id, user_id, unit, quantity),
        )
        await conn.execute(
            "UPDATE margin_ledger SET blocked_margin = blocked_margin + %s WHERE user_id = %s",
            (quantity * unit, user_id),
        )
