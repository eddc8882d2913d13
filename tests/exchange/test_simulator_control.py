"""What the exchange's operator orders: halts for a time, trades taken back or put right, bands that move."""

from pathlib import Path

import pytest

from domain.orders import OrderType, Side
from domain.price_bands import PriceBand
from domain.reports import ExecType, ExecutionReport, MarketPhase, OrdStatus
from domain.sessions import SessionClass
from domain.time import NANOS
from exchange.simulator.control import BustCommand, ControlRefused, CorrectCommand, FlexCommand, HaltCommand
from tests.support.exchange_day import ETF, FOUR, OPTION, TCS, ExchangeDay, at, fills, kinds, near

BUY, SELL = Side.BUY, Side.SELL
P, X, S = MarketPhase, ExecType, OrdStatus
CLOSE, TICK = TCS.previous_close, TCS.tick_size


@pytest.fixture
def nse(tmp_path: Path) -> ExchangeDay:
    return ExchangeDay(tmp_path, {"TCS": TCS})


def test_a_halt_for_a_time_reopens_by_itself_and_survives_a_kill(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR, "2026-11-23 08:00:00", follow_calendar=True)
    nse.until(at("2026-11-23 11:00:00"))
    nse.control(HaltCommand(45 * 60, 15 * 60))
    nse.phases.clear()
    nse.until(at("2026-11-23 11:10:00"))
    assert nse.phases == [(c, P.HALTED) for c in sorted(SessionClass)]
    nse.kill()
    nse.phases.clear()
    nse.until(at("2026-11-23 12:10:00"))
    reopening = [phase for session_class, phase in nse.phases if session_class is SessionClass.FO]
    assert reopening == [P.PRE_OPEN_ENTRY, P.PRE_OPEN_MATCHING, P.CONTINUOUS]
    since = {s.since_ns for s in nse.floor.venue.sessions.values()}
    assert since == {nse.floor.venue.sessions[SessionClass.CAS].since_ns}
    assert 0 <= min(since) - at("2026-11-23 12:00:00") <= 2 * NANOS
    nse.until(at("2026-11-23 15:16:00"))
    assert nse.floor.venue.phase_of("TCS") is P.CLOSING_REFERENCE


def test_a_second_halt_takes_the_place_of_the_first(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR, "2026-11-24 20:00:00")  # without hours
    nse.control(HaltCommand(45 * 60, 15 * 60))
    nse.until(at("2026-11-24 20:30:00"))
    nse.control(HaltCommand(105 * 60, 15 * 60))
    nse.until(at("2026-11-24 22:00:00"))
    assert {s.phase for s in nse.floor.venue.sessions.values()} == {P.HALTED}
    nse.until(at("2026-11-24 22:31:00"))
    assert {s.phase for s in nse.floor.venue.sessions.values()} == {P.CONTINUOUS}


def test_a_market_that_would_not_reopen_before_its_close_stays_halted(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR, "2026-11-23 08:00:00", follow_calendar=True)
    nse.until(at("2026-11-23 14:30:00"))
    nse.phases.clear()
    nse.control(HaltCommand(105 * 60))
    nse.until(at("2026-11-23 15:45:00"))
    seen: dict[SessionClass, list[MarketPhase]] = {}
    for session_class, phase in nse.phases:
        seen.setdefault(session_class, []).append(phase)
    assert set(map(tuple, seen.values())) == {(P.HALTED, P.CLOSED)}


def test_a_bust_takes_the_trade_back_on_both_sides(nse: ExchangeDay) -> None:
    nse.order("1", BUY, 30, near(0))
    told = nse.order("2", SELL, 10, near(0))
    trade = next(r for r in told if isinstance(r, ExecutionReport) and r.exec_type is X.TRADE)
    busted = nse.control(BustCommand(trade.exec_id))
    facts = [
        (r.cl_ord_id, r.exec_type, r.ord_status, r.cumulative_quantity, r.leaves_quantity, r.last_quantity)
        for r in busted
        if isinstance(r, ExecutionReport)
    ]
    assert facts == [("2", X.TRADE_CANCEL, S.CANCELLED, 0, 0, 10), ("1", X.TRADE_CANCEL, S.NEW, 0, 20, 10)]
    named = {r.reference_exec_id for r in busted if isinstance(r, ExecutionReport)}
    assert named == {r.exec_id for r in told if isinstance(r, ExecutionReport) and r.exec_type is X.TRADE}
    with pytest.raises(ControlRefused, match="no trade that stands"):
        nse.control(BustCommand(trade.exec_id))
    assert fills(nse.order("3", SELL, 5, near(0))) == [("3", 5, near(0)), ("1", 5, near(0))]


def test_a_corrected_trade_survives_a_kill_and_can_be_busted_by_its_new_name_only(nse: ExchangeDay) -> None:
    nse.order("1", BUY, 10, near(0))
    trade = nse.order("2", SELL, 10, near(0))[-1]
    assert isinstance(trade, ExecutionReport)
    for quantity, price in ((11, near(0)), (0, near(0)), (10, near(0) + 1), (10, 0)):
        with pytest.raises(ControlRefused):
            nse.control(CorrectCommand(trade.exec_id, quantity, price))
    corrected = nse.control(CorrectCommand(trade.exec_id, 10, near(1)))
    assert kinds(corrected) == [("1", X.TRADE_CORRECT, S.FILLED), ("2", X.TRADE_CORRECT, S.FILLED)]
    nse.kill()
    with pytest.raises(ControlRefused):
        nse.control(BustCommand(trade.exec_id))
    assert isinstance(corrected[0], ExecutionReport)
    busted = nse.control(BustCommand(corrected[0].exec_id))
    assert [r.last_price for r in busted if isinstance(r, ExecutionReport)] == [near(1), near(1)]


def test_a_band_that_moves_is_told_bars_what_it_leaves_outside_and_outlives_a_kill(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR)
    low, high = TCS.lower_band, TCS.upper_band
    nse.order("low", BUY, 1, low)
    trigger = {"order_type": OrderType.SL, "trigger": low}
    nse.order("waits", SELL, 1, low, **trigger)
    above = high + TICK
    assert [kind for _, kind, _ in kinds(nse.order("early", SELL, 1, above))] == [X.REJECTED]
    told = nse.control(FlexCommand(TCS.symbol, BUY))
    assert kinds(told) == [("low", X.CANCELLED, S.CANCELLED)]
    (band,) = nse.bands
    up = PriceBand(CLOSE, 500, 1500).limits(TICK)
    assert (band.low, band.high) == (up.low, up.high)
    for _ in range(2):
        assert [kind for _, kind, _ in kinds(nse.order(f"{nse.now_ns}", SELL, 1, up.high))] == [X.NEW]
        below = nse.order(f"{nse.now_ns}", BUY, 1, up.low - TICK)
        assert [kind for _, kind, _ in kinds(below)] == [X.REJECTED]
        nse.kill()
    assert nse.floor.announced()[-1] == band
    nse.until(nse.now_ns + 24 * 3600 * 10**9)
    assert nse.floor.venue.band_of(TCS.symbol) == (low, high)


def test_a_band_that_is_fixed_does_not_move(tmp_path: Path) -> None:
    nse = ExchangeDay(tmp_path, FOUR)
    for symbol in (ETF.symbol, OPTION.symbol, "NOSUCH"):
        with pytest.raises(ControlRefused):
            nse.control(FlexCommand(symbol, BUY))
