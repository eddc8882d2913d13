"""`hundi replay` against a running exchange: real order flow reaches the book, real ticks reach the feed."""

import gzip
import threading
from pathlib import Path

import pytest

from cli import control as exchange_control
from cli import recordings
from config.settings import Settings
from domain.orders import Side
from exchange.files.master import read_master
from exchange.simulator import control
from exchange.simulator.history import MessageKind
from exchange.simulator.market import Market, Stop
from stack.errors import StackError

TCS = read_master("NSE")["TCS"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    chosen = Settings(data_dir=tmp_path)
    monkeypatch.setattr(exchange_control, "settings", lambda: chosen)
    return chosen


def test_a_recorded_day_is_moved_in_proportion_and_stays_on_tick() -> None:
    day = recordings.RecordedDay({"TCS": TCS})
    first = day.move({"symbol": "TCS", "ltp": "3200.05", "cum_volume": "1000"})
    assert first == ("TCS", TCS.previous_close // TCS.tick_size * TCS.tick_size, 0)
    second = day.move({"symbol": "TCS", "ltp": "3232.05", "cum_volume": "1250"})
    assert second is not None
    assert second[1] % TCS.tick_size == 0 and second[2] == 250
    assert abs(second[1] / TCS.previous_close - 3232.05 / 3200.05) < 0.001
    assert day.move({"symbol": "TCS", "ltp": "9000.00", "cum_volume": "1250"}) is None
    assert day.move({"symbol": "NOSUCH", "ltp": "1.00", "cum_volume": "0"}) is None
    assert day.outcomes == {"published": 2, "out of band": 1, "no such tradable instrument": 1}


def test_order_flow_travels_over_the_control_socket_and_is_counted(
    settings: Settings, tmp_path: Path
) -> None:

    market = Market("NSE", {"TCS": TCS}, tmp_path, 1, lambda *_: None)
    market.recover()
    control.serve(tmp_path / "simulator-NSE" / "control.sock", market.inbox.put)
    thread = threading.Thread(target=market.run)
    thread.start()
    try:
        with exchange_control.Control("NSE") as exchange:
            events = [
                (MessageKind.NEW, 1, 100, 0, Side.BUY),
                (MessageKind.NEW, 2, 100, 10**9, Side.BUY),
                (MessageKind.EXECUTION, 1, 40, 0, Side.BUY),
                (MessageKind.DELETE, 1, 60, 0, Side.BUY),
                (MessageKind.DELETE, 7, 60, 0, Side.BUY),
            ]
            counts = exchange.ask(verb="flow", symbol="TCS", events=events)
            assert counts == {
                "entered": 1,
                "out of band": 1,
                "executed": 1,
                "cancelled": 1,
                "cancelled, not in the book": 1,
            }
            exchange.ask(verb="end_flow", symbol="TCS")
            with pytest.raises(StackError, match="refused nonsense"):
                exchange.ask(verb="nonsense")
    finally:
        market.inbox.put(Stop())
        thread.join(10)
    assert market.venue.books["TCS"].depth(5)[0], "the participants are back"


def test_the_command_line_reports_an_exchange_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    flow = tmp_path / "flow.csv.gz"
    with gzip.open(flow, "wt") as rows:
        rows.write("34200.1,1,1,100,5850000,1\n")
    with pytest.raises(StackError, match="no exchange answers"):
        recordings.play_flow(flow, "NSE:TCS", speed=1)
