"""`hundi day`: a whole trading day on the running stack in minutes, from 08:45 to the post-close session.

The exchanges play the next trading day by its rules (their control sockets are asked to); everything else is
seen as a client sees it: phases by GET /api/v1/market/status, orders by HTTP. In each phase that takes orders
one of each kind is placed, after hours for the next day, and once a purchase for the day alone, which the
house squares off; the table lives, what happened is printed above it, and what ought to have been otherwise
is said at the end, with exit code 1.
"""

import sys
import time
import uuid
from collections import Counter
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.control import Control
from config.sessions import session_rules
from config.settings import Settings, settings
from domain.money import paise, rupees
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.time import trade_date
from stack.errors import StackError

INSTRUMENT = "NSE:RELIANCE"
LEADER = ("NSE", SessionClass.CAS)
"""The class whose phases set the pace of the orders: the one that goes through every phase."""
LOOK_SECONDS, TAKE_BACK_SECONDS = 0.2, 10
QUANTITY = 2
INTRADAY_QUANTITY = 10
PASSING = frozenset({"PENDING_VALIDATION"})
"""Seen or not by chance; not worth a line."""
FINAL = frozenset({"EXECUTED", "CANCELLED", "REJECTED", "EXPIRED", "SETTLED"})
_console = Console(highlight=False, width=120)


def main(phase_seconds: float) -> None:
    """Play the next trading day; each stretch between two of its moments takes as long."""
    ours = settings()
    url = f"http://{ours.host}:{ours.port('api')}"
    try:
        with httpx.Client(base_url=url, timeout=10) as http:
            faults = _Day(http, ours, phase_seconds).run()
    except httpx.ConnectError:
        raise StackError(f"no market answers at {url}: start one with `make run`") from None
    if faults:
        sys.exit("hundi: the day did not go as it should: " + "; ".join(faults))
    _console.print("[green]the day went as the rules have it; no order was left open")


class _Day:
    def __init__(self, http: httpx.Client, ours: Settings, phase_seconds: float) -> None:
        self._http, self._settings, self._seconds = http, ours, phase_seconds
        self._phases: dict[tuple[str, str], list[str]] = {}
        self._orders: dict[str, tuple[str, str]] = {}
        """By id: what was asked and the status seen last."""
        self._last = ""
        """Of the orders placed last: those after the day's end."""

    def run(self) -> list[str]:
        session = self._http.post("/api/v1/session", json={"client_id": "DEMO0001", "password": "demo"})
        session.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {session.json()['access_token']}"
        listed = self._get("/api/v1/instruments", q=INSTRUMENT)["instruments"]
        self._instrument = next(row for row in listed if row["instrument_id"] == INSTRUMENT)
        before = {key(row): [row["phase"]] for row in self._status()}
        self._phases = {name: [] for name in before}
        expected = self._expected()
        for exchange in self._settings.exchanges:
            with Control(exchange) as control:
                control.ask(verb="day", phase_seconds=self._seconds)
        length = max(len(phases) for phases in expected.values()) + 8
        deadline = time.monotonic() + length * self._seconds + 30
        with Live(console=_console, auto_refresh=False) as live:
            while not self._over(expected) and time.monotonic() < deadline:
                self._look()
                live.update(self._table(), refresh=True)
                time.sleep(LOOK_SECONDS)
        self._take_back()
        return self._faults(expected)

    def _expected(self) -> dict[tuple[str, str], list[str]]:
        """Each class's phases by the rules, the closed morning before and the open market after."""
        rules = session_rules()
        today = rules.calendar.next_trading_day(trade_date(time.time_ns()))
        if today is None:
            raise StackError("the calendar ends before the next trading day")
        return {
            name: ["CLOSED", *(c.phase for c in rules.changes(today, SessionClass(name[1]))), "CONTINUOUS"]
            for name in self._phases
        }

    def _over(self, expected: dict[tuple[str, str], list[str]]) -> bool:
        return all(len(self._phases[name]) >= len(phases) for name, phases in expected.items())

    def _look(self) -> None:
        """Phases first, then what became of the orders."""
        for row in self._status():
            seen = self._phases[key(row)]
            # A class that is still in the open market of before has not begun its day.
            begun = seen or row["phase"] == "CLOSED"
            if begun and (not seen or seen[-1] != row["phase"]):
                seen.append(row["phase"])
                self._say(f"{row['exchange']} {row['session_class']:<12} {row['phase']}")
                if key(row) == LEADER and len(seen) < len(self._expected()[LEADER]):
                    self._place(row, f"{row['phase']} ({len(seen)})")
        for order in self._get("/api/v1/orders", limit="200")["orders"]:
            asked, status = self._orders.get(order["order_id"], ("", ""))
            if asked and status != order["status"]:
                self._orders[order["order_id"]] = (asked, order["status"])
                if order["status"] in PASSING:
                    continue
                self._say(f"  {asked}: {order['status']} {_told(order)}")

    def _place(self, row: dict[str, Any], moment: str) -> None:
        """One order of each kind that the phase takes; where it takes none, for the next day or in vain."""
        tick, close = paise(self._instrument["tick_size"]), paise(self._instrument["previous_close"])
        prices = {"a price that trades": close + 100 * tick, "a price that rests": close - 100 * tick}
        kinds: dict[str, dict[str, Any]] = {
            f"LIMIT at {name}": {"order_type": "LIMIT", "price": rupees(price)}
            for name, price in prices.items()
            if "LIMIT" in row["order_types"] or not row["order_types"]
        }
        if "MARKET" in row["order_types"]:
            kinds["MARKET"] = {"order_type": "MARKET"}
        if row["phase"] == MarketPhase.CONTINUOUS:
            intraday = {"order_type": "MARKET", "product": "MIS", "quantity": INTRADAY_QUANTITY}
            kinds["MARKET for the day alone"] = intraday
        for name, terms in kinds.items():
            body = {
                "instrument_id": INSTRUMENT,
                "transaction_type": "BUY",
                "product": "CNC",
                "validity": "DAY",
                "quantity": QUANTITY,
                "idempotency_key": str(uuid.uuid4()),
            } | terms
            answer = self._http.post("/api/v1/orders", json=body).raise_for_status()
            self._last = f"placed in {moment}"
            self._orders[answer.json()["order_id"]] = (f"{name}, {self._last}", "")

    def _take_back(self) -> None:
        """What was placed after the day's end is for the next one, which nobody plays now."""
        after = [i for i, (asked, _) in self._orders.items() if asked.endswith(self._last)]
        for order_id in after:
            self._http.delete(f"/api/v1/orders/{order_id}")
        deadline = time.monotonic() + TAKE_BACK_SECONDS
        while any(self._orders[i][1] not in FINAL for i in after) and time.monotonic() < deadline:
            self._look()
            time.sleep(LOOK_SECONDS)

    def _table(self) -> Table:
        table = Table("exchange", "class", "phases so far", title=f"orders: {self._counts()}", width=118)
        for (exchange, session_class), phases in self._phases.items():
            table.add_row(exchange, session_class, " › ".join(phases))
        return table

    def _counts(self) -> str:
        counts = Counter(status or "PLACED" for _, status in self._orders.values())
        return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none yet"

    def _faults(self, expected: dict[tuple[str, str], list[str]]) -> list[str]:
        wrong = [
            f"{' '.join(name)} went through {', '.join(self._phases[name])}, by the rules {', '.join(phases)}"
            for name, phases in expected.items()
            if self._phases[name] != phases
        ]
        wrong += [f"{asked} is {s}" for asked, s in self._orders.values() if s not in FINAL]
        held = [
            row for row in self._get("/api/v1/portfolio/positions")["positions"] if row["product"] == "MIS"
        ]
        return wrong + [
            f"{row['net_quantity']} {row['instrument_id']} were not squared off"
            for row in held
            if row["net_quantity"]
        ]

    def _status(self) -> list[dict[str, Any]]:
        segments: list[dict[str, Any]] = self._get("/api/v1/market/status")["segments"]
        return segments

    def _say(self, text: str) -> None:
        _console.print(f"{time.strftime('%H:%M:%S')}  {text}", soft_wrap=True)

    def _get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["exchange"], row["session_class"]


def _told(order: dict[str, Any]) -> str:
    """What a person wants to know beside the status."""
    if order["filled_quantity"]:
        return f"{order['filled_quantity']} at {order['average_price']}"
    return order["reject_reason"] or ""
