"""The exchange through its day: what each phase refuses, auctions, closing prices, a kill in any phase."""

from datetime import date, time
from pathlib import Path

import pytest

from config.sessions import session_rules
from domain.instructions import CancelOrder, ReplaceOrder
from domain.orders import OrderType, Side, Validity
from domain.reports import CancelRejected, ExecType, ExecutionReport, MarketPhase, OrdStatus
from domain.sessions import PERMISSIONS, SessionClass
from domain.time import ist_ns
from exchange.simulator.control import DayCommand
from tests.support.exchange_day import ETF, FOUR, FUTURE, TCS, ExchangeDay, Told, fills, kinds, near

BUY, SELL = Side.BUY, Side.SELL
PLAYED = date(2026, 11, 25)
P, X, S = MarketPhase, ExecType, OrdStatus
CLOSE, TICK = TCS.previous_close, TCS.tick_size


def a_change(cl_ord_id: str, orig: str, quantity: int, price: int | None = None) -> ReplaceOrder:
    kind = OrderType.LIMIT if price else OrderType.MARKET
    return ReplaceOrder(cl_ord_id, orig, "TCS", BUY, quantity, kind, Validity.DAY, price, None, 0)


def a_cancel(cl_ord_id: str, orig: str) -> CancelOrder:
    return CancelOrder(cl_ord_id, orig, "TCS", BUY, 10, 0)


@pytest.fixture
def nse(tmp_path: Path) -> ExchangeDay:
    return ExchangeDay(tmp_path, {"TCS": TCS})


@pytest.mark.parametrize("phase", MarketPhase)
def test_each_phase_lets_in_what_it_takes_and_says_why_it_does_not(
    nse: ExchangeDay, phase: MarketPhase
) -> None:
    nse.enter(phase)
    permission = PERMISSIONS[phase]
    for number, order_type in enumerate(OrderType):
        for validity in (Validity.DAY, Validity.IOC):
            priced = near(-5) if order_type in (OrderType.LIMIT, OrderType.SL) else None
            trigger = near(5) if order_type in (OrderType.SL, OrderType.SL_M) else None
            order = {"order_type": order_type, "validity": validity, "trigger": trigger}
            report = nse.order(f"{number}{validity}", BUY, 10, priced, **order)[0]
            assert isinstance(report, ExecutionReport)
            if permission.takes(order_type, validity):
                assert report.exec_type is X.NEW, (order_type, validity)
            elif not permission.order_types:
                assert (report.reject_reason, report.text) == (2, f"MARKET_CLOSED: the market is in {phase}")
            else:
                assert report.reject_reason == 11 and report.text and str(phase) in report.text


@pytest.mark.parametrize("phase", MarketPhase)
def test_resting_orders_are_changed_and_cancelled_only_where_the_phase_says_so(
    nse: ExchangeDay, phase: MarketPhase
) -> None:
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 10, near(-5))
    nse.order("2", BUY, 10, near(-5))
    nse.enter(phase)
    permission = PERMISSIONS[phase]
    (changed,) = nse.ask(a_change("1-1", "1", 20, near(-4)))
    takes_limit = OrderType.LIMIT in permission.order_types
    assert isinstance(changed, ExecutionReport) is (permission.modify and takes_limit)
    (cancelled,) = nse.ask(a_cancel("2-1", "2"))
    gone = phase is P.CLOSED  # the order has expired
    assert isinstance(cancelled, ExecutionReport) is (permission.cancel and not gone)
    if isinstance(cancelled, CancelRejected):
        assert cancelled.reject_reason == (0 if gone else 2)


def test_a_market_order_is_fixed_once_only_limit_orders_are_taken(nse: ExchangeDay) -> None:
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 10)
    assert kinds(nse.ask(a_change("1-1", "1", 20))) == [("1-1", X.REPLACED, S.NEW)]
    nse.enter(P.PRE_OPEN_LIMIT)
    for request in (a_change("1-2", "1-1", 30), a_cancel("1-3", "1-1")):
        (refused,) = nse.ask(request)
        assert isinstance(refused, CancelRejected) and refused.reject_reason == 2
        assert refused.text == "ORDER_TYPE_NOT_SUPPORTED: a MARKET order is fixed in PRE_OPEN_LIMIT"


def test_the_pre_open_trades_at_one_price_and_hands_the_rest_on(nse: ExchangeDay) -> None:
    nse.enter(P.PRE_OPEN_ENTRY)
    assert kinds(nse.order("1", BUY, 50, near(2))) == [("1", X.NEW, S.NEW)]
    nse.order("2", BUY, 10)
    nse.order("3", SELL, 40, near(-2))
    nse.order("4", SELL, 5, near(1))
    nse.enter(P.PRE_OPEN_LIMIT)
    nse.order("5", BUY, 30, near(1))
    # At +1 and at +2 the same 45 can trade; demand is 90 at +1 and 60 at +2, where less is left over.
    told = nse.enter(P.PRE_OPEN_MATCHING)
    price = near(2)
    assert fills(told) == [
        ("2", 10, price),
        ("3", 10, price),
        ("1", 30, price),
        ("3", 30, price),
        ("1", 5, price),
        ("4", 5, price),
    ]
    nse.enter(P.CONTINUOUS)
    assert nse.floor.venue.books["TCS"].depth(5) == ([(near(2), 15), (near(1), 30)], [])
    assert fills(nse.order("6", SELL, 20, near(1))) == [
        ("6", 15, near(2)),
        ("1", 15, near(2)),
        ("6", 5, near(1)),
        ("5", 5, near(1)),
    ]


def test_market_orders_left_over_are_told_the_price_at_which_they_rest(nse: ExchangeDay) -> None:
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 30)
    nse.order("2", SELL, 10, near(3))
    told = nse.enter(P.PRE_OPEN_MATCHING)
    restated = told[-1]
    assert fills(told) == [("1", 10, near(3)), ("2", 10, near(3))]
    assert isinstance(restated, ExecutionReport) and restated.exec_type is X.RESTATED
    assert (restated.ord_status, restated.price) == (S.PARTIALLY_FILLED, near(3))
    assert (restated.leaves_quantity, restated.cumulative_quantity) == (20, 10)


def test_without_a_counterpart_a_market_order_rests_at_the_previous_close(nse: ExchangeDay) -> None:
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 30)
    (restated,) = nse.enter(P.PRE_OPEN_MATCHING)
    assert isinstance(restated, ExecutionReport) and restated.price == CLOSE


def test_the_closing_auction_bars_stops_and_prices_far_from_its_reference(nse: ExchangeDay) -> None:
    nse.order("buy", BUY, 10, near(0))
    nse.order("sell", SELL, 10, near(0))  # the average, and so the reference, is the previous close
    far = CLOSE * 96 // 100 // TICK * TICK
    within = -(-CLOSE * 97 // (100 * TICK)) * TICK
    nse.order("far", BUY, 10, far)
    nse.order("within", BUY, 10, within)
    nse.order("stop", SELL, 10, None, order_type=OrderType.SL_M, trigger=near(-20))
    told = nse.enter(P.CLOSING_REFERENCE)
    assert kinds(told) == [("far", X.CANCELLED, S.CANCELLED), ("stop", X.CANCELLED, S.CANCELLED)]
    assert all(isinstance(r, ExecutionReport) and r.text and "CLOSING_AUCTION" in r.text for r in told)
    nse.enter(P.CLOSING_AUCTION)
    (refused,) = nse.order("late", BUY, 10, far)
    assert isinstance(refused, ExecutionReport) and refused.reject_reason == 3
    assert refused.text and refused.text.startswith("PRICE_OUT_OF_BAND")


def test_the_closing_price_is_the_auctions_and_the_post_close_trades_at_it(nse: ExchangeDay) -> None:
    nse.order("0", BUY, 10, near(-1))
    nse.enter(P.CLOSING_REFERENCE, P.CLOSING_AUCTION)
    nse.order("1", BUY, 20, near(4))
    nse.order("2", SELL, 15, near(4))
    assert fills(nse.enter(P.CLOSING_AUCTION_LIMIT, P.CLOSING_MATCHING)) == [
        ("1", 15, near(4)),
        ("2", 15, near(4)),
    ]
    expired = nse.enter(P.CLOSED)
    assert kinds(expired) == [("0", X.EXPIRED, S.EXPIRED), ("1", X.EXPIRED, S.EXPIRED)]
    nse.enter(P.POST_CLOSE)
    nse.order("3", BUY, 10)
    assert fills(nse.order("4", SELL, 6)) == [("4", 6, near(4)), ("3", 6, near(4))]
    assert kinds(nse.enter(P.CLOSED)) == [("3", X.EXPIRED, S.EXPIRED)]


def test_a_share_without_closing_auction_closes_at_the_average_of_the_last_half_hour(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, {ETF.symbol: ETF}, "2026-11-23 15:10:00")
    first, last = ETF.previous_close, ETF.previous_close + 10 * ETF.tick_size
    for number, (quantity, price) in enumerate(((30, first), (10, last))):
        nse.order(f"b{number}", BUY, quantity, price)
        nse.order(f"s{number}", SELL, quantity, price)
    nse.enter(P.CLOSED)
    average = (30 * first + 10 * last) / 40
    closing = nse.floor.venue.prices[ETF.symbol]
    assert abs(closing - average) <= ETF.tick_size / 2 and closing % ETF.tick_size == 0
    nse.enter(P.POST_CLOSE)
    nse.order("5", BUY, 10)
    assert fills(nse.order("6", SELL, 10))[0] == ("6", 10, closing)


def test_a_halt_keeps_orders_and_the_market_reopens_by_auction(nse: ExchangeDay) -> None:
    nse.order("1", BUY, 10, near(-1))
    nse.order("2", BUY, 10, near(-2))
    nse.order("stop", BUY, 5, None, order_type=OrderType.SL_M, trigger=near(3))
    nse.enter(P.HALTED)
    assert kinds(nse.ask(a_cancel("2-1", "2"))) == [("2-1", X.CANCELLED, S.CANCELLED)]
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("3", BUY, 10, near(4))
    nse.order("4", SELL, 12, near(-1))
    told = nse.enter(P.PRE_OPEN_MATCHING)
    assert fills(told) == [("3", 10, near(-1)), ("4", 10, near(-1)), ("1", 2, near(-1)), ("4", 2, near(-1))]
    assert fills(nse.enter(P.CONTINUOUS)) == []
    assert nse.floor.venue.books["TCS"].depth(5) == ([(near(-1), 8)], [])


def test_a_stop_that_the_reopening_price_reaches_is_triggered_when_trading_resumes(nse: ExchangeDay) -> None:
    nse.order("stop", BUY, 5, None, order_type=OrderType.SL_M, trigger=near(3))
    nse.enter(P.HALTED, P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 10, near(3))
    nse.order("2", SELL, 12, near(3))
    told = nse.enter(P.PRE_OPEN_MATCHING)
    assert ("stop", X.TRIGGERED, S.NEW) not in kinds(told)
    told = nse.enter(P.CONTINUOUS)
    assert kinds(told)[0] == ("stop", X.TRIGGERED, S.NEW)
    assert fills(told) == [("stop", 2, near(3)), ("2", 2, near(3))]


def test_classes_go_through_the_day_each_on_its_own(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR)
    nse.enter(P.CLOSING_AUCTION, session_class=SessionClass.CAS)
    phases = {row.symbol: nse.floor.venue.phase_of(row.symbol) for row in FOUR.values()}
    assert phases.pop("TCS") is P.CLOSING_AUCTION
    assert set(phases.values()) == {P.CONTINUOUS}
    (refused,) = nse.order("1", BUY, 10, near(0), symbol="TCS", validity=Validity.IOC)
    assert isinstance(refused, ExecutionReport) and refused.exec_type is X.REJECTED
    lot = FUTURE.lot_size
    entered = nse.order("2", BUY, lot, FUTURE.previous_close, symbol=FUTURE.symbol, validity=Validity.IOC)
    assert kinds(entered)[0] == ("2", X.NEW, S.NEW)


# A day of orders, cut by a kill before each phase: whoever recovers tells the same as who was never killed.
DAY = (
    P.CLOSED,
    P.PRE_OPEN_ENTRY,
    P.PRE_OPEN_LIMIT,
    P.PRE_OPEN_MATCHING,
    P.CONTINUOUS,
    P.HALTED,
    P.CONTINUOUS,
    P.CLOSING_REFERENCE,
    P.CLOSING_AUCTION,
    P.CLOSING_AUCTION_LIMIT,
    P.CLOSING_MATCHING,
    P.CLOSED,
    P.POST_CLOSE,
    P.CLOSED,
)


def a_day(directory: Path, killed_in: int | None) -> list[tuple[object, ...]]:
    directory.mkdir()
    nse = ExchangeDay(directory, {"TCS": TCS}, "2026-11-23 09:00:00")
    told: list[Told] = []
    for number, phase in enumerate(DAY):
        told += nse.enter(phase)
        for side, quantity in ((BUY, 30), (SELL, 20)):
            name = f"{number}{side}"
            told += nse.order(f"{name}M", side, quantity)
            told += nse.order(f"{name}L", side, quantity, near(-side.sign * 2))
            told += nse.order(f"{name}X", side, quantity // 2, near(side.sign))
        if number == killed_in:
            nse.kill()
    return [
        (r.cl_ord_id, r.exec_id, r.exec_type, r.ord_status, r.last_quantity, r.last_price, r.leaves_quantity)
        for r in told
        if isinstance(r, ExecutionReport)
    ]


@pytest.mark.parametrize("killed_in", range(len(DAY)))
def test_a_kill_in_any_phase_changes_nothing_that_is_told(tmp_path: Path, killed_in: int) -> None:
    assert a_day(tmp_path / "killed", killed_in) == a_day(tmp_path / "whole", None)


def test_a_phase_without_its_end_in_the_journal_has_not_begun(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, {"TCS": TCS})
    nse.enter(P.PRE_OPEN_ENTRY)
    nse.order("1", BUY, 10, near(1))
    nse.order("2", SELL, 10, near(1))
    before = (tmp_path / "journal.jsonl").stat().st_size
    told = nse.enter(P.PRE_OPEN_MATCHING, session_class=SessionClass.CAS)
    with (tmp_path / "journal.jsonl").open("r+b") as journal:
        journal.truncate(before + 200)
    nse.kill()
    assert nse.floor.venue.phase_of("TCS") is P.PRE_OPEN_ENTRY
    again = nse.enter(P.PRE_OPEN_MATCHING, session_class=SessionClass.CAS)
    assert fills(again) == fills(told) == [("1", 10, near(1)), ("2", 10, near(1))]


def test_a_calendar_day_comes_in_order_however_late_the_exchange_wakes(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR, "2026-11-23 08:00:00", follow_calendar=True)
    nse.until(nse.now_ns + 3600 * 10**9)
    nse.order("1", BUY, 10, near(1))
    nse.order("2", SELL, 10, near(1))
    nse.now_ns += 3600 * 10**9  # it sleeps from 09:00 to 10:00
    nse.kill()
    assert fills(nse.until(nse.now_ns)) == [("1", 10, near(1)), ("2", 10, near(1))]
    mine = [phase for session_class, phase in nse.phases if session_class is SessionClass.CAS]
    assert mine == [P.PRE_OPEN_ENTRY, P.PRE_OPEN_LIMIT, P.PRE_OPEN_MATCHING, P.CONTINUOUS]
    nse.until(nse.now_ns + 6 * 3600 * 10**9)
    assert {nse.floor.venue.phase_of(symbol) for symbol in FOUR} == {P.CLOSED}


def test_a_compressed_day_is_the_same_day_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR, "2026-11-24 20:00:00", crowded=True)  # a holiday, in the evening
    nse.control(DayCommand(10))
    begun = nse.now_ns
    told: list[Told] = []
    for second in range(0, 160, 5):
        told += nse.until(begun + second * 10**9)
        told += nse.order(f"{second}", BUY, 1)
        if second in (25, 75):
            nse.kill()
    seen: dict[SessionClass, list[MarketPhase]] = {c: [] for c in SessionClass}
    for session_class, phase in nse.phases:
        seen[session_class].append(phase)
    scheduled: dict[SessionClass, list[int | None]] = {c: [] for c in SessionClass}
    for announced in nse.announced:
        scheduled[SessionClass(announced.session_class or "")].append(announced.scheduled_ns)
    auction = [P.CLOSING_REFERENCE, P.CLOSING_AUCTION, P.CLOSING_AUCTION_LIMIT, P.CLOSING_MATCHING]
    pre_open = [P.CLOSED, P.PRE_OPEN_ENTRY, P.PRE_OPEN_LIMIT, P.PRE_OPEN_MATCHING, P.CONTINUOUS]
    closed = [P.CLOSED, P.POST_CLOSE, P.CLOSED, P.CONTINUOUS]
    assert seen[SessionClass.CAS] == pre_open + auction + closed
    assert seen[SessionClass.CASH] == pre_open + closed
    # Each phase says which moment of the played day it is; the open market afterwards is of no day.
    planned = [c.latest_ns for c in session_rules().changes(PLAYED, SessionClass.FO)]
    assert scheduled[SessionClass.FO] == [ist_ns(PLAYED, time(8, 45)), *planned, None]
    assert seen[SessionClass.FO] == [P.CLOSED, P.CONTINUOUS, P.CLOSED, P.CONTINUOUS]
    assert seen[SessionClass.FRONT_FUTURE] == [*pre_open, P.CLOSED, P.CONTINUOUS]
    assert len(fills(told)) > 10
    assert len({r.exec_id for r in told if isinstance(r, ExecutionReport)}) == len(told)
