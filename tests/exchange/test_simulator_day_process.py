"""A whole compressed day over FIX, by messages written by hand, with a kill in the closing auction."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.files.master import read_master
from tests.support.exchange_process import SESSIONS, Exchange
from tests.support.fix_text import FixText, stamp

pytestmark = pytest.mark.waits

RELIANCE = read_master("NSE")["RELIANCE"]
# (TradSesStatus 340, TradingSessionSubID 625, Text 58) of the shares that close by auction.
A_CAS_DAY = [
    ("3", "7", "CLOSED"),
    ("4", "1", "PRE_OPEN_ENTRY"),
    ("4", "1", "PRE_OPEN_LIMIT"),
    ("4", "2", "PRE_OPEN_MATCHING"),
    ("2", "3", "CONTINUOUS"),
    ("5", "7", "CLOSING_REFERENCE"),
    ("5", "4", "CLOSING_AUCTION"),
    ("5", "4", "CLOSING_AUCTION_LIMIT"),
    ("5", "4", "CLOSING_MATCHING"),
    ("3", "7", "CLOSED"),
    ("5", "5", "POST_CLOSE"),
    ("3", "7", "CLOSED"),
    ("2", "3", "CONTINUOUS"),
]


@pytest.fixture
def nse(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    yield exchange
    if exchange.process.poll() is None:
        assert exchange.stop() == 0


def price(percent: int) -> str:
    """A buying price so many per cent from the previous close."""
    tick = RELIANCE.tick_size
    paise = RELIANCE.previous_close * (100 + percent) // 100 // tick * tick
    return f"{paise // 100}.{paise % 100:02d}"


def an_order(cl_ord_id: str, limit: str | None, quantity: int = 10, side: str = "1") -> dict[int, str]:
    terms = {40: "2", 44: limit} if limit else {40: "1"}
    ids = {11: cl_ord_id, 1: "DEMO0001", 21: "1", 55: "RELIANCE", 54: side}
    return {**ids, 60: stamp(), 38: str(quantity), **terms, 59: "0"}


class Listener:
    """Reads a session until a phase of a class comes, keeping what it heard on the way."""

    def __init__(self, client: FixText) -> None:
        self.client = client
        self.reports: list[dict[int, str]] = []
        self.phases: list[dict[int, str]] = []

    def until(self, phase: str, session_class: str = "CAS") -> None:
        while True:
            message = self.client.receive()
            if message[35] == "8":
                self.reports.append(message)
            if message[35] == "1":
                self.client.send("0", {112: message[112]})
            if message[35] != "h":
                continue
            named = message.get(1151) or message[336].split(".")[2]
            if named == session_class:
                self.phases.append(message)
                if message[58] == phase:
                    return

    def of(self, cl_ord_id: str) -> list[dict[int, str]]:
        return [report for report in self.reports if report[11] == cl_ord_id]


def test_a_whole_day_over_fix_with_a_kill_in_the_closing_auction(nse: Exchange) -> None:
    heard = Listener(nse.connect("FIXT.1.1"))
    heard.until("CONTINUOUS")  # told at logon
    heard.phases.clear()
    client = heard.client

    def enter(phase: str, *orders: dict[int, str]) -> None:
        assert nse.ask(verb="phase", phase=phase) == {"counts": {}}
        heard.until(phase)
        for order in orders:
            heard.client.send("D", order)
            heard.reports.append(heard.client.expect("8"))

    enter("CLOSED", an_order("early", price(1)))
    enter("PRE_OPEN_ENTRY", an_order("open-limit", price(2)), an_order("open-market", None))
    enter("PRE_OPEN_LIMIT", an_order("late-market", None), an_order("rests", price(-2)))
    client.send("F", {41: "open-market", 11: "fixed", 55: "RELIANCE", 54: "1", 60: stamp(), 38: "10"})
    refused = client.expect("9")
    assert (refused[11], refused[102], refused[39]) == ("fixed", "2", "0")
    enter("PRE_OPEN_MATCHING")
    enter("CONTINUOUS", an_order("day", price(2)))
    enter("CLOSING_REFERENCE")
    enter("CLOSING_AUCTION", an_order("close-limit", price(2)), an_order("close-market", None))
    client.send("D", an_order("out-of-band", price(-5)))
    heard.reports.append(client.expect("8"))

    nse.kill()
    nse.start()
    heard.client = nse.connect("FIXT.1.1")
    heard.until("CLOSING_AUCTION")  # told at logon
    heard.phases.pop()
    enter("CLOSING_AUCTION_LIMIT")
    enter("CLOSING_MATCHING")
    enter("CLOSED")
    enter("POST_CLOSE", an_order("post-limit", price(0)), an_order("post-market", None))
    while heard.of("post-market")[-1][39] != "2":
        heard.reports.append(heard.client.expect("8"))
    enter("CLOSED")
    enter("CONTINUOUS")

    assert [(p[340], p[625], p[58]) for p in heard.phases] == A_CAS_DAY
    last = {name: heard.of(name)[-1] for name in {report[11] for report in heard.reports}}
    assert {name: report[39] for name, report in last.items()} == {
        "early": "8",
        "open-limit": "2",
        "open-market": "2",
        "late-market": "8",
        "rests": "C",
        "day": "2",
        "close-limit": "2",
        "close-market": "2",
        "out-of-band": "8",
        "post-limit": "8",
        "post-market": "2",
    }
    assert last["early"][103] == "2" and last["post-limit"][103] == "11" and last["out-of-band"][103] == "3"
    opening = {r[31] for n in ("open-limit", "open-market") for r in heard.of(n) if r[150] == "F"}
    closing = {
        r[31] for n in ("close-limit", "close-market", "post-market") for r in heard.of(n) if r[150] == "F"
    }
    assert len(opening) == len(closing) == 1
    fills = [report for report in heard.reports if report[150] == "F"]
    assert len({report[17] for report in heard.reports}) == len(heard.reports)
    assert {row["exec_id"] for row in nse.trades()} == {report[17] for report in fills}


def test_the_exchange_plays_a_compressed_day_by_itself(nse: Exchange) -> None:
    heard = Listener(nse.connect("FIX.4.2"))
    heard.until("CONTINUOUS")
    heard.phases.clear()
    nse.ask(verb="day", phase_seconds=0.5)
    for phase in (phase for _, _, phase in A_CAS_DAY):
        heard.until(phase)
    assert [p[58] for p in heard.phases] == [phase for _, _, phase in A_CAS_DAY]


def test_fix_42_hears_the_class_in_the_session_id(nse: Exchange) -> None:
    heard = Listener(nse.connect("FIX.4.2"))
    heard.until("CONTINUOUS")
    nse.ask(verb="phase", phase="CLOSING_AUCTION", session_class="CAS")
    heard.until("CLOSING_AUCTION")
    assert (heard.phases[-1][336], heard.phases[-1][340]) == ("NSE.CASH.CAS", "5")
    heard.client.send("D", {**an_order("1", price(1)), 59: "3"})
    report = heard.client.expect("8")
    # FIX 4.2 has no OrdRejReason for it; the text has.
    assert (report[39], report[103]) == ("8", "0")
    assert report[58] == "VALIDITY_NOT_SUPPORTED: no IOC order in CLOSING_AUCTION"


@pytest.mark.parametrize("begin", SESSIONS)
def test_a_correction_and_a_bust_reach_the_broker_and_the_trade_file(nse: Exchange, begin: str) -> None:
    client = nse.connect(begin)
    client.send("D", an_order("1", None, quantity=3))
    reports = [client.expect("8")]
    while reports[-1][39] != "2":
        reports.append(client.expect("8"))
    trade = reports[-1]
    quantity, paid = int(trade[32]), RELIANCE.previous_close
    assert nse.ask(verb="correct", exec_id=trade[17], quantity=quantity, price=paid) == {"counts": {}}
    corrected = client.expect("8")
    told = {"FIXT.1.1": (corrected.get(150), "G"), "FIX.4.2": (corrected.get(20), "2")}[begin]
    assert told[0] == told[1]
    assert (corrected[19], corrected[32], corrected[14], corrected[39]) == (trade[17], trade[32], "3", "2")
    assert corrected[31].replace(".", "") == str(paid)
    assert sum(int(row["quantity"]) for row in nse.trades()) == 3
    nse.kill()
    nse.start()
    client = nse.connect(begin)
    deadline = time.monotonic() + 10
    while "error" in (answer := nse.ask(verb="bust", exec_id=corrected[17])):
        assert time.monotonic() < deadline, answer
    busted = client.expect("8")
    told = {"FIXT.1.1": (busted.get(150), "H"), "FIX.4.2": (busted.get(20), "1")}[begin]
    assert told[0] == told[1]
    left = 3 - quantity
    assert (busted[19], busted[14], busted[151], busted[39]) == (corrected[17], str(left), "0", "4")
    rows = nse.trades()
    assert sum(int(row["quantity"]) for row in rows) == left
    assert [int(row["quantity"]) for row in rows[-3:]] == [-quantity, quantity, -quantity]
    assert "no trade that stands" in nse.ask(verb="bust", exec_id=trade[17])["error"]
