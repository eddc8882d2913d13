"""The simulator as a process: hand-written FIX in both versions, kill -9, restart, trade file, tick feed."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.ticks import RECORD
from domain.span import contract_key
from exchange.feed import FeedLine, PacketKind, feed_port, parse, snapshot_request
from exchange.files.master import read_master
from exchange.files.span_parser import read_span_file
from tests.support.exchange_process import SESSIONS, Exchange
from tests.support.fix_text import FixText, stamp

pytestmark = pytest.mark.waits

RELIANCE = read_master("NSE")["RELIANCE"]
FAR_BELOW = f"{(RELIANCE.lower_band // 100) + 1}.00"
"""A buying price that no participant comes near."""


@pytest.fixture
def nse(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    yield exchange
    if exchange.process.poll() is None:
        assert exchange.stop() == 0


def new_order(cl_ord_id: str, side: str = "1", quantity: int = 10, **more: str) -> dict[int, str]:
    """A NewOrderSingle: a market order unless `price` is given."""
    price = more.get("price")
    return {
        11: cl_ord_id,
        1: "DEMO0001",
        21: "1",
        55: more.get("symbol", "RELIANCE"),
        54: side,
        60: stamp(),
        38: str(quantity),
        40: "2" if price else "1",
        **({44: price} if price else {}),
        59: more.get("validity", "0"),
    }


def change(cl_ord_id: str, orig: str, quantity: int = 10, price: str | None = None) -> dict[int, str]:
    """OrderCancelRequest, or OrderCancelReplaceRequest when a price is given."""
    terms = {40: "2", 44: price, 59: "0", 21: "1"} if price else {}
    ids = {11: cl_ord_id, 41: orig, 55: "RELIANCE", 54: "1", 60: stamp(), 38: str(quantity)}
    return {**ids, **{tag: value for tag, value in terms.items() if value}}


def fill(client: FixText, cl_ord_id: str) -> list[dict[int, str]]:
    """Send a market order and collect its reports up to the last fill."""
    client.send("D", new_order(cl_ord_id))
    reports = [client.expect("8")]
    while reports[-1][39] != "2":
        reports.append(client.expect("8"))
    return reports


@pytest.mark.parametrize("begin", SESSIONS)
def test_a_market_order_is_acknowledged_and_filled_and_stands_in_the_trade_file(
    nse: Exchange, begin: str
) -> None:
    client = nse.connect(begin)
    reports = fill(client, "1")
    assert (reports[0][39], reports[0][150], reports[0][151]) == ("0", "0", "10")
    assert {r[150] for r in reports[1:]} <= ({"F"} if begin == "FIXT.1.1" else {"1", "2"})
    assert reports[-1][14] == "10" and reports[-1][151] == "0"
    assert len({r[17] for r in reports}) == len(reports)
    rows = nse.trades()
    assert [row["exec_id"] for row in rows] == [r[17] for r in reports[1:]]
    assert {(row["cl_ord_id"], row["client_code"], row["side"]) for row in rows} == {("1", "DEMO0001", "BUY")}
    assert sum(int(row["quantity"]) for row in rows) == 10


@pytest.mark.parametrize("begin", SESSIONS)
def test_a_resting_order_is_replaced_and_cancelled_and_then_it_is_too_late(nse: Exchange, begin: str) -> None:
    client = nse.connect(begin)
    client.send("D", new_order("1", price=FAR_BELOW))
    assert client.expect("8")[39] == "0"
    client.send("G", change("1-1", "1", quantity=6, price=FAR_BELOW))
    replaced = client.expect("8")
    assert (replaced[150], replaced[11], replaced[41], replaced[38]) == ("5", "1-1", "1", "6")
    client.send("F", change("1-2", "1-1", quantity=6))
    cancelled = client.expect("8")
    assert (cancelled[150], cancelled[39], cancelled[151], cancelled[11]) == ("4", "4", "0", "1-2")
    client.send("F", change("1-3", "1-2"))
    late = client.expect("9")
    assert (late[102], late[434], late[39]) == ("0", "1", "4")
    client.send("F", change("7-1", "7"))
    assert client.expect("9")[102] == "1"


@pytest.mark.parametrize(
    ("order", "reason", "word"),
    [
        (new_order("1", symbol="NOSUCH"), "1", "INSTRUMENT_UNKNOWN"),
        (new_order("1", price="1.00"), "3", "PRICE_OUT_OF_BAND"),
        (new_order("1", price=FAR_BELOW[:-1] + "3"), "0", "PRICE_NOT_TICK_MULTIPLE"),
        (new_order("1", quantity=RELIANCE.freeze_quantity + 1), "3", "QUANTITY_ABOVE_FREEZE"),
    ],
)
def test_what_breaks_a_rule_is_rejected_with_its_reason(
    nse: Exchange, order: dict[int, str], reason: str, word: str
) -> None:
    for begin in SESSIONS:
        client = nse.connect(begin)
        client.send("D", {**order, 11: f"{begin}-1"})
        report = client.expect("8")
        assert (report[150], report[39], report[103]) == ("8", "8", reason)
        assert report[58].startswith(word)


def test_a_repeated_cl_ord_id_never_makes_a_second_order(nse: Exchange) -> None:
    client = nse.connect("FIXT.1.1")
    first = fill(client, "1")[-1]
    client.send("D", new_order("1"))
    duplicate = client.expect("8")
    assert (duplicate[150], duplicate[103], duplicate[37]) == ("8", "6", "NONE")
    client.send("D", new_order("1"), header={97: "Y"})
    answer = client.expect("8")
    assert (answer[150], answer[39], answer[14], answer[37]) == ("I", "2", "10", first[37])
    assert sum(int(row["quantity"]) for row in nse.trades()) == 10


def test_a_status_request_is_answered_for_known_and_unknown_orders(nse: Exchange) -> None:
    client = nse.connect("FIXT.1.1")
    client.send("D", new_order("1", price=FAR_BELOW))
    entered = client.expect("8")
    client.send("H", {11: "1", 55: "RELIANCE", 54: "1"})
    assert (known := client.expect("8"))[150] == "I"
    assert (known[39], known[37], known[151]) == ("0", entered[37], "10")
    client.send("H", {11: "2", 55: "RELIANCE", 54: "1"})
    unknown = client.expect("8")
    assert (unknown[150], unknown[39], unknown[37]) == ("I", "8", "NONE")


def test_the_phase_of_each_session_class_is_announced_on_logon(nse: Exchange) -> None:
    newer, older = nse.connect("FIXT.1.1"), nse.connect("FIX.4.2")
    phases = [newer.expect("h") for _ in range(4)]
    assert {(p[1301], p[1300], p[1151], p[340], p[58]) for p in phases} == {
        ("NSE", "CASH", "CAS", "2", "CONTINUOUS"),
        ("NSE", "CASH", "CASH", "2", "CONTINUOUS"),
        ("NSE", "FO", "FO", "2", "CONTINUOUS"),
        ("NSE", "FO", "FRONT_FUTURE", "2", "CONTINUOUS"),
    }
    assert {older.expect("h")[336] for _ in range(4)} == {
        "NSE.CASH.CAS",
        "NSE.CASH.CASH",
        "NSE.FO.FO",
        "NSE.FO.FRONT_FUTURE",
    }


def test_the_day_s_span_file_is_there_before_the_first_session(nse: Exchange) -> None:
    nse.connect("FIXT.1.1")
    [path] = nse.settings.data_dir.glob("exchange-NSE-span-*.spn")
    contracts = read_span_file(path).contracts
    assert {contract_key(instrument) for instrument in read_master("NSE").values()} - {None} <= set(contracts)


def test_a_killed_exchange_remembers_its_orders_and_never_reuses_an_exec_id(nse: Exchange) -> None:
    client = nse.connect("FIXT.1.1")
    client.send("D", new_order("1", price=FAR_BELOW))
    entered = client.expect("8")
    before = [entered, *fill(client, "2")]
    nse.kill()
    nse.start()
    client = nse.connect("FIXT.1.1")
    client.send("H", {11: "1", 55: "RELIANCE", 54: "1"})
    status = client.expect("8")
    assert (status[39], status[37], status[151]) == ("0", entered[37], "10")
    client.send("D", new_order("2"), header={97: "Y"})
    assert (filled := client.expect("8"))[150] == "I"
    assert filled[14] == "10"
    after = fill(client, "3")
    assert not {r[17] for r in before} & {r[17] for r in [status, filled, *after]}
    client.send("F", change("1-1", "1"))
    assert client.expect("8")[39] == "4"
    assert sum(int(row["quantity"]) for row in nse.trades()) == 20


def test_the_feed_numbers_its_packets_and_answers_a_snapshot(nse: Exchange) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        # The process may still be starting.
        line.settimeout(60)
        line.bind(("127.0.0.1", feed_port(nse.settings, "NSE", FeedLine.A)))
        heads = [parse(line.recv(65536))[0] for _ in range(5)]
        numbers = [int(head["sequence"]) for head in heads]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        assert all(head["kind"] == PacketKind.TICKS and head["exchange"] == b"NSE" for head in heads)
        port = feed_port(nse.settings, "NSE", FeedLine.SNAPSHOT)
        line.sendto(snapshot_request("NSE", [RELIANCE.token]), ("127.0.0.1", port))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            head, records = parse(line.recv(65536))
            if head["kind"] == PacketKind.SNAPSHOT:
                break
        assert records.dtype == RECORD and len(records) == 1
        row = records[0]
        assert row["token"] == RELIANCE.token
        assert 0 < row["bids"][0]["price"] < row["asks"][0]["price"]
        _wait_for(line, lambda end: end["kind"] == PacketKind.SNAPSHOT and end["count"] == 0)


def _wait_for(line: socket.socket, wanted: Callable[..., bool]) -> None:
    while not wanted(parse(line.recv(65536))[0]):
        continue
