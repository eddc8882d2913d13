"""The matching thread without a wire: what the journal brings back, what is repeated, what the day ends."""

from pathlib import Path

from domain.instructions import NewOrder
from domain.orders import OrderType, Side, Validity
from domain.reports import ExecType, ExecutionReport, MarketPhase, OrdStatus, Report, SessionPhase
from exchange.files.master import read_master
from exchange.simulator.control import Controlled, FlowCommand, PhaseCommand
from exchange.simulator.flow import FlowEvent
from exchange.simulator.history import MessageKind
from exchange.simulator.market import Item, Market, MarketRequest, Stop

SESSION = "FIXT.1.1:NSE->HUNDI01"
TCS = read_master("NSE")["TCS"]
Sent = list[tuple[ExecutionReport, bool]]


def run(data_dir: Path, *items: Item) -> tuple[Market, Sent]:
    """Recover a market, let it handle the items and stop; returns what it sent with PossResend."""
    sent: Sent = []

    def send(session: str, report: Report, poss_resend: bool) -> None:
        if not isinstance(report, SessionPhase):
            assert session == SESSION and isinstance(report, ExecutionReport)
            sent.append((report, poss_resend))

    market = Market("NSE", {"TCS": TCS}, data_dir, 1, send)
    market.recover()
    for item in (*items, Stop()):
        market.inbox.put(item)
    market.run()
    return market, sent


def order(
    cl_ord_id: str, side: Side, quantity: int, price: int | None, trigger: int | None = None
) -> MarketRequest:
    kind = OrderType.SL_M if trigger else OrderType.LIMIT if price else OrderType.MARKET
    terms = (side, quantity, kind, Validity.DAY, price, trigger, 0)
    return MarketRequest(SESSION, NewOrder(cl_ord_id, "DEMO0001", "TCS", *terms), False)


def test_reports_that_may_not_have_left_are_repeated_with_poss_resend(tmp_path: Path) -> None:
    _, first = run(tmp_path, order("1", Side.BUY, 10, TCS.lower_band))
    journal = tmp_path / "simulator-NSE" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"sent"' not in line))
    _, again = run(tmp_path)
    assert again == [(report, True) for report, _ in first]
    journal.write_bytes(b"".join(lines))
    assert run(tmp_path)[1] == []


def test_a_torn_last_line_is_as_if_it_had_never_been_asked(tmp_path: Path) -> None:
    run(tmp_path, order("1", Side.BUY, 10, TCS.lower_band))
    with (tmp_path / "simulator-NSE" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"session":"FIXT.1.1:NSE->HUNDI01","request":{"wo')
    market, _ = run(tmp_path, order("2", Side.BUY, 10, TCS.lower_band))
    assert set(market.venue.requests) == {"1", "2"}
    assert set(run(tmp_path)[0].venue.requests) == {"1", "2"}


def test_a_rebuilt_book_keeps_quantities_priority_and_stops(tmp_path: Path) -> None:
    asked = (
        order("1", Side.BUY, 10, TCS.lower_band),
        order("2", Side.BUY, 20, TCS.lower_band),
        order("3", Side.BUY, 5, None, trigger=TCS.upper_band),
    )
    before, _ = run(tmp_path, *asked)
    after, _ = run(tmp_path)
    book = after.venue.books["TCS"]
    assert after.venue.requests["3"].report == before.venue.requests["3"].report
    level = book.bids.levels[TCS.lower_band]
    assert [o.leaves for o in level.queue.values()] == [10, 20]
    assert book.orders[after.venue.requests["3"].order.order_id].trigger == TCS.upper_band


def test_the_trade_file_is_completed_from_the_journal(tmp_path: Path) -> None:
    run(tmp_path, order("1", Side.BUY, 10, None))
    (trade_file,) = tmp_path.glob("exchange-NSE-trades-*.csv")
    whole = trade_file.read_text()
    trade_file.write_text(whole.splitlines(keepends=True)[0] + "torn,ro")
    run(tmp_path)
    assert trade_file.read_text() == whole


def test_a_closed_market_expires_the_days_orders_and_takes_no_new_ones(tmp_path: Path) -> None:
    _, sent = run(
        tmp_path,
        order("1", Side.BUY, 10, TCS.lower_band),
        Controlled(PhaseCommand(MarketPhase.CLOSED)),
        order("2", Side.BUY, 10, None),
    )
    kinds = [(r.cl_ord_id, r.exec_type, r.ord_status, r.reject_reason) for r, _ in sent]
    assert kinds == [
        ("1", ExecType.NEW, OrdStatus.NEW, None),
        ("1", ExecType.EXPIRED, OrdStatus.EXPIRED, None),
        ("2", ExecType.REJECTED, OrdStatus.REJECTED, 2),
    ]


def test_a_resting_order_is_filled_by_replayed_flow_that_ranks_behind_it(tmp_path: Path) -> None:
    mine = TCS.previous_close - 5 * TCS.tick_size
    flow = [
        FlowEvent(MessageKind.NEW, 1, 100, -6, Side.BUY),
        FlowEvent(MessageKind.EXECUTION, 1, 30, -6, Side.BUY),
    ]
    begin = Controlled(FlowCommand("TCS", []))
    _, sent = run(tmp_path, begin, order("1", Side.BUY, 10, mine), Controlled(FlowCommand("TCS", flow)))
    assert [(r.exec_type, r.last_price, r.leaves_quantity) for r, _ in sent] == [
        (ExecType.NEW, 0, 10),
        (ExecType.TRADE, mine, 0),
    ]
