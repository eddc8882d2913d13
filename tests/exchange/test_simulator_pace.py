"""A new user's first look is alive: liquid names move several times a second, and derivatives are deep."""

from collections import Counter
from datetime import date

import pytest

from config.sessions import session_rules
from config.settings import Settings
from domain.instructions import NewOrder
from domain.instruments import Instrument
from domain.orders import OrderType, Side, Validity
from domain.reports import ExecType, ExecutionReport
from domain.time import NANOS
from exchange.files.master import read_master
from exchange.simulator.floor import Floor
from exchange.simulator.pace import BEATS_A_SECOND
from tests.support.contracts import front_future
from tests.support.exchange_day import at

DAY = date(2026, 12, 1)
NOW = at("2026-12-01 10:00:00")
MASTER = read_master("NSE", DAY)
SECONDS = 10


def a_floor(pace: float, instruments: dict[str, Instrument] = MASTER) -> Floor:
    floor = Floor("NSE", dict(instruments), session_rules(), 1, False, NOW, lambda *_: None, pace)
    floor.open([], NOW)
    return floor


def moves(pace: float) -> Counter[str]:
    """How often each instrument's quotes or value changed in so many seconds of beats."""
    floor, moved = a_floor(pace), Counter[str]()
    for beat in range(SECONDS * BEATS_A_SECOND):
        floor.touched.clear()
        floor.beat(NOW + beat * NANOS // BEATS_A_SECOND)
        moved.update(floor.touched)
    return moved


def test_by_default_liquid_names_move_several_times_a_second_and_others_now_and_then() -> None:
    moved = moves(Settings.model_fields["market_pace"].default)
    liquid = (
        "NIFTY 50",
        "NIFTY BANK",
        "RELIANCE",
        "TCS",
        front_future("NIFTY 50", DAY),
        front_future("TCS", DAY),
    )
    assert all(3 * SECONDS <= moved[symbol] <= 5 * SECONDS for symbol in liquid), moved
    others = [symbol for symbol, row in MASTER.items() if row.tradable and symbol not in liquid]
    assert all(moved[symbol] >= SECONDS // 4 for symbol in others)


def test_a_market_without_pace_is_left_to_its_brokers() -> None:
    assert moves(0) == {}


def test_an_index_moves_by_itself_and_stays_near_its_close() -> None:
    floor = a_floor(4.0, {symbol: MASTER[symbol] for symbol in ("NIFTY 50", front_future("NIFTY 50", DAY))})
    values: list[int] = []
    floor.venue.on_trade = lambda symbol, trade: values.append(trade.price) if symbol == "NIFTY 50" else None
    for beat in range(100 * BEATS_A_SECOND):
        floor.beat(NOW + beat)
    close = MASTER["NIFTY 50"].previous_close
    assert len(values) == 400 and len(set(values)) > 10
    assert all(abs(value - close) < close // 50 for value in values)


DERIVATIVES = [row for row in MASTER.values() if row.kind.is_derivative]


@pytest.mark.parametrize("side", Side)
def test_a_market_order_of_one_freeze_quantity_fills_in_every_derivative(side: Side) -> None:
    floor = a_floor(4.0)
    for beat in range(4 * BEATS_A_SECOND):
        floor.beat(NOW + beat)
    short = {row.symbol: left for row in DERIVATIVES if (left := _left(floor, row, side))}
    assert short == {}


def test_nor_is_a_share_s_book_deeper_than_it_was() -> None:
    bids, asks = a_floor(4.0).venue.books["RELIANCE"].depth(5)
    worth = MASTER["RELIANCE"].previous_close
    for levels in (bids, asks):
        assert len(levels) == 5 and all(4 * 10**7 < worth * quantity < 16 * 10**7 for _, quantity in levels)


def _left(floor: Floor, row: Instrument, side: Side) -> int:
    """What does not trade."""
    terms = (side, row.freeze_quantity, OrderType.MARKET, Validity.IOC, None, None, NOW)
    step = floor.ask("S", NewOrder(f"{row.token}", "DEMO0001", row.symbol, *terms), False, NOW)
    reports = [told.report for told in step.told if isinstance(told.report, ExecutionReport)]
    return row.freeze_quantity - sum(r.last_quantity for r in reports if r.exec_type is ExecType.TRADE)
