"""The margin of derivatives in ledger and view: step by step, in races, over a Redis that loses everything,
by another risk file.
"""

import asyncio
import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from domain.exchange_terms import ExchangeTerms
from domain.orders import PlacedOrder, Product, Side
from domain.portfolio_margin import MarginedPosition, WorkingOrder, portfolio_margin
from domain.rejects import Refusal, RejectCode
from domain.span import ContractKey, RiskContract, contract_key
from storage import reconciliation
from storage.database import Database
from storage.orders import dry_runs, submissions
from storage.orders.submissions import SubmissionRequest
from tests.support.contracts import front_future, front_option
from tests.support.portfolios import master, parameters, todays
from tests.support.trading_floor import TradingFloor, an_order, unit_of

BUY, SELL = Side.BUY, Side.SELL
FUTURE, BANK, SHARE = front_future("NIFTY 50"), front_future("NIFTY BANK"), "SBIN"
CALL, PUT = (front_option("NIFTY 50", 26_000, kind) for kind in ("CE", "PE"))
LAKH = 1_00_000_00
LOT = 65


@pytest.fixture
def floor(database: Database, redis: Redis) -> TradingFloor:
    return TradingFloor(database, redis)


def key(symbol: str) -> ContractKey:
    found = contract_key(master()[f"NSE:{symbol}"])
    assert found is not None
    return found


def needed(held: dict[str, int], working: dict[str, int] | None = None) -> int:
    """SPAN and exposure of lots held and lots ordered, both signed; a NIFTY lot is 65."""
    positions = [MarginedPosition(key(symbol), lots * LOT) for symbol, lots in held.items()]
    orders = [
        WorkingOrder(key(symbol), BUY if lots > 0 else SELL, abs(lots) * LOT, 0)
        for symbol, lots in (working or {}).items()
    ]
    margin = portfolio_margin(positions, parameters(), orders)
    assert margin is not None
    return margin.span + margin.exposure


async def figures(floor: TradingFloor, user_id: int) -> tuple[int, int]:
    """Blocked and used, the same in the ledger and in the view."""
    ledger, view = await floor.ledger(user_id), await floor.view.account(user_id)
    assert view is not None
    assert (view.blocked, view.used) == (ledger["blocked_margin"], ledger["used_margin"])
    return ledger["blocked_margin"], ledger["used_margin"]


async def test_a_future_is_blocked_used_and_released(floor: TradingFloor) -> None:
    user_id = await floor.account(20 * LAKH)
    bought = await floor.place(user_id, BUY, FUTURE, 2)
    one, two = needed({FUTURE: 1}), needed({FUTURE: 2})
    assert await figures(floor, user_id) == (two, 0)
    assert (await floor.ledger(user_id))["exposure_margin"] > 0
    await floor.fill(bought, LOT)
    assert await figures(floor, user_id) == (two - one, one)
    await floor.cancel(bought)
    assert await figures(floor, user_id) == (0, one)
    sold = await floor.place(user_id, SELL, FUTURE)
    # Closing needs nothing: whether it fills or not, no more than the position's margin is at stake.
    assert await figures(floor, user_id) == (0, one)
    await floor.fill(sold, LOT, master()[f"NSE:{FUTURE}"].previous_close - 10)
    ledger = await floor.ledger(user_id)
    assert await figures(floor, user_id) == (0, 0)
    assert (ledger["exposure_margin"], ledger["realized_pnl"]) == (0, -10 * LOT)


async def test_an_option_bought_costs_its_premium_and_gives_it_back_when_sold(floor: TradingFloor) -> None:
    user_id = await floor.account(LAKH)
    price = master()[f"NSE:{CALL}"].previous_close
    bought = await floor.place(user_id, BUY, CALL)
    assert await figures(floor, user_id) == (LOT * price, 0)
    await floor.fill(bought, LOT, price - 500)
    assert await figures(floor, user_id) == (0, LOT * (price - 500))
    sold = await floor.place(user_id, SELL, CALL, price=price - 700)
    assert await figures(floor, user_id) == (0, LOT * (price - 500))
    await floor.fill(sold, LOT)
    assert await figures(floor, user_id) == (0, 0)
    assert (await floor.ledger(user_id))["available_cash"] == LAKH - 200 * LOT


@pytest.mark.parametrize("product", [Product.NRML, Product.MIS])
async def test_an_option_sold_needs_span_and_exposure_and_its_purchase_back_nothing(
    floor: TradingFloor, product: Product
) -> None:
    user_id = await floor.account(needed({CALL: -1}))
    sold = await floor.place(user_id, SELL, CALL, product=product)
    assert await figures(floor, user_id) == (needed({CALL: -1}), 0)
    await floor.fill(sold, LOT)
    assert (await floor.ledger(user_id))["available_cash"] == 0
    back = await floor.place(user_id, BUY, CALL, product=product)
    await floor.fill(back, LOT)
    assert await figures(floor, user_id) == (0, 0)


async def test_a_hedge_blocks_only_its_premium_and_frees_margin_once_filled(
    floor: TradingFloor,
) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    bare, hedged = needed({FUTURE: 1}), needed({FUTURE: 1, PUT: 1})
    premium = LOT * master()[f"NSE:{PUT}"].previous_close
    hedge = await floor.place(user_id, BUY, PUT)
    assert await figures(floor, user_id) == (premium, bare)
    await floor.fill(hedge, LOT)
    assert hedged < bare
    assert await figures(floor, user_id) == (0, hedged + premium)
    # To sell the hedge is to need the bare position's margin again.
    await floor.place(user_id, SELL, PUT)
    assert await figures(floor, user_id) == (bare - hedged, hedged + premium)


async def test_a_trade_that_the_exchange_takes_back_takes_its_margin_along(floor: TradingFloor) -> None:
    user_id = await floor.account(20 * LAKH)
    future, option = await floor.place(user_id, BUY, FUTURE), await floor.place(user_id, BUY, PUT)
    await floor.fill(future, LOT)
    await floor.fill(option, LOT)
    await floor.bust(option)
    assert await figures(floor, user_id) == (0, needed({FUTURE: 1}))
    await floor.bust(future)
    assert await figures(floor, user_id) == (0, 0)
    assert (await floor.ledger(user_id))["available_cash"] == 20 * LAKH


async def test_an_intraday_position_is_no_hedge_of_one_that_is_carried(floor: TradingFloor) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    await floor.fill(await floor.place(user_id, SELL, FUTURE, product=Product.MIS), LOT)
    assert await figures(floor, user_id) == (0, needed({FUTURE: 1}) + needed({FUTURE: -1}))


async def test_a_change_blocks_what_it_adds_and_a_refused_one_leaves_no_trace(floor: TradingFloor) -> None:
    user_id = await floor.account(needed({}, {FUTURE: 3}))
    order = await floor.place(user_id, BUY, FUTURE)
    assert await floor.change(order, "1", quantity=3 * LOT) == "passed"
    assert await figures(floor, user_id) == (needed({}, {FUTURE: 3}), 0)
    assert await floor.change(order, "2", quantity=4 * LOT) == "MARGIN_INSUFFICIENT"
    assert await figures(floor, user_id) == (needed({}, {FUTURE: 3}), 0)
    assert await floor.change(order, "3", quantity=2 * LOT) == "passed"
    assert await figures(floor, user_id) == (needed({}, {FUTURE: 2}), 0)


async def test_64_racing_orders_of_one_account_never_overspend(floor: TradingFloor) -> None:
    """Futures that need about half of the money each beside shares that need it too: at no instant is
    available negative, in the ledger or in the view.
    """
    cash = needed({}, {FUTURE: 2}) + 100
    user_id = await floor.account(cash)
    await floor.view.ensure(user_id)
    lows: list[int] = []
    racing = True

    async def watch() -> None:
        while racing:
            view = await floor.view.account(user_id)
            lows.append(min((await floor.ledger(user_id))["available_cash"], view.available if view else 0))

    watching = asyncio.create_task(watch())
    share = master()[f"NSE:{SHARE}"].previous_close
    futures = [await floor.acknowledged(user_id, an_order(BUY, FUTURE)) for _ in range(32)]
    shares = [
        await floor.acknowledged(user_id, an_order(BUY, SHARE, cash // 2 // share, product=Product.CNC))
        for _ in range(32)
    ]
    mixed = [order for pair in zip(futures, shares, strict=True) for order in pair]
    answers = await asyncio.gather(*(floor.submit(order) for order in mixed))
    racing = False
    await watching
    assert answers.count("passed") == 2
    assert set(answers) == {"passed", "MARGIN_INSUFFICIENT"}
    assert min(lows) >= 0
    await figures(floor, user_id)


async def test_two_workers_racing_for_the_last_lots_pass_exactly_what_the_portfolio_covers(
    database: Database, redis: Redis
) -> None:
    """Each has its own group commits; the ledger row's lock is between them."""
    floors = [TradingFloor(database, redis) for _ in range(2)]
    user_id = await floors[0].account(needed({}, {FUTURE: 5}) + LOT)
    orders = [await floors[0].acknowledged(user_id, an_order(BUY, FUTURE)) for _ in range(64)]
    answers = await asyncio.gather(*(floors[n % 2].submit(order) for n, order in enumerate(orders)))
    assert answers.count("passed") == 5
    assert await figures(floors[0], user_id) == (needed({}, {FUTURE: 5}), 0)


async def test_a_view_that_promises_too_much_overspends_nothing(floor: TradingFloor) -> None:
    """The ledger's own check, order by order in a group, holds without Redis."""
    user_id = await floor.account(needed({}, {FUTURE: 3}) + LOT)
    await floor.view.ensure(user_id)
    await floor.redis.hincrby(f"margin:{{{user_id}}}", "cash", 1000 * LAKH)
    orders = [await floor.acknowledged(user_id, an_order(BUY, FUTURE)) for _ in range(16)]
    answers = await asyncio.gather(*(floor.submit(order) for order in orders))
    assert answers.count("passed") == 3
    assert (await floor.ledger(user_id))["available_cash"] == LOT


async def test_a_lost_redis_is_rebuilt_with_the_portfolio_in_it(floor: TradingFloor) -> None:
    user_id = await floor.account(needed({}, {FUTURE: 2}) + LOT)
    held = await floor.place(user_id, BUY, FUTURE)
    await floor.fill(held, LOT)
    resting = await floor.acknowledged(user_id, an_order(BUY, FUTURE))
    await floor.redis.delete(f"margin:{{{user_id}}}", f"margin:{{{user_id}}}:positions")
    assert await floor.submit(resting) == "passed"
    assert await figures(floor, user_id) == (needed({FUTURE: 2}) - needed({FUTURE: 1}), needed({FUTURE: 1}))
    await floor.redis.delete(f"margin:{{{user_id}}}", f"margin:{{{user_id}}}:positions")
    assert (
        await floor.submit(await floor.acknowledged(user_id, an_order(BUY, FUTURE))) == "MARGIN_INSUFFICIENT"
    )


async def test_racing_orders_whose_view_is_lost_among_them_pass_as_many_as_are_covered(
    floor: TradingFloor,
) -> None:
    user_id = await floor.account(needed({}, {FUTURE: 3}) + LOT)
    orders = [await floor.acknowledged(user_id, an_order(BUY, FUTURE)) for _ in range(64)]

    async def submit(number: int) -> str:
        # Among the racing orders, some that find nothing and some whose view is lost under them.
        if number % 16 == 7:
            await floor.redis.delete(f"margin:{{{user_id}}}")
        return await floor.submit(orders[number])

    answers = await asyncio.gather(*(submit(number) for number in range(64)))
    assert answers.count("passed") == 3
    assert set(answers) == {"passed", "MARGIN_INSUFFICIENT"}
    await floor.view.ensure(user_id)
    assert await figures(floor, user_id) == (needed({}, {FUTURE: 3}), 0)


async def test_a_trial_says_what_an_order_would_add_and_promises_nothing(
    floor: TradingFloor, database: Database
) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    before = await floor.ledger(user_id)
    asked = {(BUY, FUTURE): needed({FUTURE: 2}) - needed({FUTURE: 1}), (SELL, FUTURE): 0, (BUY, PUT): 0}
    for (side, symbol), adds in asked.items():
        order = PlacedOrder(0, user_id, 0, time.time_ns(), an_order(side, symbol), "", "test")
        leaves = ExchangeTerms(order.terms.order_type, order.terms.price, order.terms.price or 1)
        unit = unit_of(order.terms, order.terms.price or 1)
        trial = await dry_runs.attempt(database, floor.portfolios, order, leaves, unit)
        assert (trial.refusals, trial.portfolio_margin) == ([], adds)
        assert trial.block is not None and trial.block.required == (LOT * unit if symbol == PUT else 0)
    many = PlacedOrder(0, user_id, 0, time.time_ns(), an_order(BUY, FUTURE, 20), "", "test")
    trial = await dry_runs.attempt(database, floor.portfolios, many, leaves, 0)
    assert [refusal.code for refusal in trial.refusals] == ["MARGIN_INSUFFICIENT"]
    assert await floor.ledger(user_id) == before


@pytest.mark.parametrize("code", [RejectCode.SPAN_FILE_MISSING, RejectCode.SPAN_FILE_STALE])
async def test_without_a_risk_file_nothing_is_promised_and_fills_are_booked_all_the_same(
    floor: TradingFloor, code: RejectCode
) -> None:
    user_id = await floor.account(20 * LAKH)
    order = await floor.place(user_id, BUY, FUTURE, 2)
    two = needed({}, {FUTURE: 2})
    floor.portfolios.rules = lambda _: Refusal(code)
    sale = an_order(SELL, FUTURE)
    refused = await floor.acknowledged(user_id, replace(sale, price=(sale.price or 0) + 100))
    assert await floor.submit(refused) == code
    await floor.fill(order, LOT)
    # Nobody can say what it needs now: what was bound stays bound, until a file is there.
    assert await figures(floor, user_id) == (two, 0)
    assert (await floor.ledger(user_id))["margined_by"] is None
    floor.portfolios.rules = todays
    await floor.cancel(order)
    assert await figures(floor, user_id) == (0, needed({FUTURE: 1}))


async def test_a_contract_that_no_file_lists_is_refused_and_so_is_all_beside_it(floor: TradingFloor) -> None:
    user_id = await floor.account(20 * LAKH)
    order = await floor.place(user_id, BUY, BANK)
    floor.portfolios.contracts.pop(f"NSE:{BANK}")
    beside = await floor.acknowledged(user_id, an_order(BUY, FUTURE))
    assert await floor.submit(beside) == RejectCode.CONTRACT_NOT_MARGINED
    assert order.order_id


async def test_another_risk_file_margins_every_portfolio_again_and_no_order_pays_for_it(
    floor: TradingFloor, database: Database
) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    by_a_dearer_file(floor)
    assert await floor.submit(await floor.acknowledged(user_id, an_order(SELL, FUTURE))) == "passed"
    held = needed({FUTURE: 1})
    turned, used = await figures(floor, user_id)
    assert (turned, used) == (0, (await floor.ledger(user_id))["portfolio_used"]) and used > held
    floor.portfolios.rules = todays
    found = await reconciliation.remargin(database, floor.portfolios, user_id - 1)
    assert found.turned >= 1
    assert user_id not in dict(found.wrong)
    assert await figures(floor, user_id) == (0, held)


def by_a_dearer_file(floor: TradingFloor) -> None:
    """Another risk file from now on, by which everything needs more."""
    dear = replace(parameters().span, created="dearer", contracts=_dearer())
    floor.portfolios.rules = lambda _: replace(parameters(), span=dear)


async def test_an_order_or_change_refused_under_another_risk_file_leaves_view_and_ledger_agreed(
    floor: TradingFloor,
) -> None:
    user_id = await floor.account(20 * LAKH)
    order = await floor.place(user_id, BUY, FUTURE)
    by_a_dearer_file(floor)
    assert await floor.change(order, "1", quantity=27 * LOT) == "MARGIN_INSUFFICIENT"
    assert await figures(floor, user_id) == (needed({}, {FUTURE: 1}), 0)
    # The ledger covers it, the view does not: orders in shares that are not submitted yet are blocked there.
    account = await floor.view.account(user_id)
    assert account is not None
    await floor.view.block(user_id, 1, BUY, "NSE:SBIN|CNC", False, 1, account.available - LOT)
    assert await floor.change(order, "2", quantity=2 * LOT) == "MARGIN_INSUFFICIENT"
    view, ledger = await floor.view.account(user_id), await floor.ledger(user_id)
    assert view is not None
    assert (view.portfolio_blocked, view.portfolio_used) == (needed({}, {FUTURE: 1}), 0)
    assert view.portfolio_blocked == ledger["portfolio_blocked"]
    refused = await floor.acknowledged(user_id, an_order(BUY, FUTURE))
    assert await floor.submit(refused) == "MARGIN_INSUFFICIENT"
    view, ledger = await floor.view.account(user_id), await floor.ledger(user_id)
    assert view is not None
    # An order that is refused turns its account to the new file all the same, in both.
    assert view.portfolio_blocked == ledger["portfolio_blocked"] > needed({}, {FUTURE: 1})


class Lost(Exception):
    """The transaction is not to be committed."""


@pytest.mark.parametrize("dearer", [False, True])
async def test_a_submit_that_is_rolled_back_leaves_view_and_ledger_agreed(
    floor: TradingFloor, database: Database, dearer: bool
) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    before = await figures(floor, user_id)
    if dearer:
        by_a_dearer_file(floor)
    order = await floor.acknowledged(user_id, an_order(BUY, FUTURE))
    block = await floor.view.block(user_id, order.order_id, BUY, f"NSE:{FUTURE}|NRML", True, LOT, 0)
    assert order.terms.price is not None
    leaves = ExchangeTerms(order.terms.order_type, order.terms.price, order.terms.price)
    with pytest.raises(Lost):
        async with database.transaction() as conn:
            (answer,) = await submissions.submit(
                conn, floor.portfolios, [SubmissionRequest(order, block, leaves)]
            )
            assert answer.refusal is None and not answer.stale
            raise Lost
    assert await figures(floor, user_id) == before
    assert await floor.submit(order) == "passed"
    blocked, used = await figures(floor, user_id)
    assert blocked > 0 and (used > before[1]) is dearer


async def test_a_booking_that_is_rolled_back_leaves_the_portfolio_s_margin_as_it_was_and_is_repeated(
    floor: TradingFloor, database: Database
) -> None:
    user_id = await floor.account(20 * LAKH)
    order = await floor.place(user_id, BUY, FUTURE)
    before = await figures(floor, user_id)
    with pytest.raises(Lost):
        async with database.transaction() as conn:
            await conn.execute("SELECT FROM margin_ledger WHERE user_id = %s FOR UPDATE", (user_id,))
            await conn.execute(
                "UPDATE margin_holds SET open_quantity = 0, state = 'RELEASED' WHERE order_id = %s",
                (order.order_id,),
            )
            assert await floor.portfolios.remargin(conn, [user_id]) == [user_id]
            raise Lost
    assert await figures(floor, user_id) == before
    await floor.cancel(order)
    assert await figures(floor, user_id) == (0, 0)


async def test_a_margin_that_is_not_its_portfolio_s_is_told_and_put_right(
    floor: TradingFloor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await floor.account(20 * LAKH)
    await floor.fill(await floor.place(user_id, BUY, FUTURE), LOT)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE margin_ledger SET used_margin = used_margin - 100, portfolio_used = portfolio_used - 100"
            " WHERE user_id = %s",
            (user_id,),
        )
    found = await reconciliation.remargin(database, floor.portfolios, user_id - 1)
    assert "are bound for derivatives that need" in dict(found.wrong)[user_id]
    assert await figures(floor, user_id) == (0, needed({FUTURE: 1}))
    again = await reconciliation.remargin(database, floor.portfolios, user_id - 1)
    assert user_id not in dict(again.wrong)
    # Very many are taken in their turn.
    monkeypatch.setattr(reconciliation, "PORTFOLIOS_AT_ONCE", 1)
    assert (await reconciliation.remargin(database, floor.portfolios, user_id - 1)).last == user_id
    assert (await reconciliation.remargin(database, floor.portfolios, 2**62)).last == 0


def _dearer() -> dict[ContractKey, RiskContract]:
    """Each contract loses twice as much."""
    contracts = parameters().span.contracts
    return {at: replace(one, losses=tuple(2 * a for a in one.losses)) for at, one in contracts.items()}
