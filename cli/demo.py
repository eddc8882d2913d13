"""`hundi demo`: orders of each kind on the running market, each step with the exchange's words on the wire.

It knows the platform only as a client does: by HTTP. A resting order is filled by replayed order flow,
recorded where the market files are (HUNDI_MARKET_DATA), seeded otherwise. What was bought is then held
against the exchange's own trade file, to the paisa. Exit code 1 when anything is not as it should be.
"""

import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from cli.control import Control
from cli.fix import wire_message
from cli.recordings import paced, read_flow
from config.settings import Settings, settings
from domain.money import paise, rupees
from domain.orders import Side
from exchange.files.trade_file import read_trade_file, trade_file_paths
from exchange.fix.wire_log import messages_of
from exchange.simulator.history import Message, MessageKind
from stack.errors import StackError

INSTRUMENT, FLOW_INSTRUMENT = "NSE:RELIANCE", "NSE:TCS"
ANSWER_SECONDS = 20.0
REST_TICKS = 65
"""How far below yesterday's close the resting order stands: out of the quotes' reach, not of the flow's."""
FLOW_EVENTS, FLOW_SPEED = 8_000, 100.0
_console = Console(highlight=False, width=140)


def main() -> None:
    """Raises StackError when no market answers."""
    ours = settings()
    url = f"http://{ours.host}:{ours.port('api')}"
    try:
        with httpx.Client(base_url=url, timeout=10) as http:
            faults = _Demo(http, ours).run()
    except httpx.ConnectError:
        raise StackError(f"no market answers at {url}: start one with `make run`") from None
    if faults:
        sys.exit("hundi: the demo did not go as it should: " + "; ".join(faults))
    _console.print("[green]every step went as it should; the books agree with the exchange to the paisa")


class _Demo:
    """One client, DEMO0001, and what it expects of each order."""

    def __init__(self, http: httpx.Client, ours: Settings) -> None:
        self._http, self._settings = http, ours
        self._faults: list[str] = []

    def run(self) -> list[str]:
        session = self._http.post("/api/v1/session", json={"client_id": "DEMO0001", "password": "demo"})
        session.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {session.json()['access_token']}"
        reliance, tcs = self._instrument(INSTRUMENT), self._instrument(FLOW_INSTRUMENT)
        before = self._books()

        bought = self._place(
            "a market order is executed at once", "EXECUTED", order_type="MARKET", quantity=5
        )
        low = rupees(paise(tcs["previous_close"]) - REST_TICKS * paise(tcs["tick_size"]))
        title = "a limit order below the market rests"
        resting = self._place(title, "OPEN", instrument_id=FLOW_INSTRUMENT, price=low, quantity=5)
        self._fill_by_flow(resting["order_id"])
        cancelled = self._place("another rests far below", "OPEN", price=reliance["lower_band"], quantity=2)
        self._cancel(cancelled["order_id"])
        self._place(
            "an order beyond the account's means is refused",
            "REJECTED",
            price=reliance["upper_band"],
            quantity=9_000,
        )
        self._compare(before, {INSTRUMENT: bought["order_id"], FLOW_INSTRUMENT: resting["order_id"]})
        return self._faults

    def _instrument(self, instrument_id: str) -> dict[str, Any]:
        listed = self._get("/api/v1/instruments", q=instrument_id)["instruments"]
        return next(dict(row) for row in listed if row["instrument_id"] == instrument_id)

    def _fill_by_flow(self, order_id: str) -> None:
        """Replay until the flow has traded through the order's price."""
        messages, origin = _flow()
        exchange, _, symbol = FLOW_INSTRUMENT.partition(":")
        with Control(exchange) as control, _console.status(f"{origin} order flow enters {FLOW_INSTRUMENT}"):
            try:
                for batch in paced(messages, FLOW_SPEED):
                    control.flow(symbol, batch, messages[0].price)
                    if self._get(f"/api/v1/orders/{order_id}")["status"] == "EXECUTED":
                        break
            finally:
                control.ask(verb="end_flow", symbol=symbol)
        order = self._until(order_id, lambda found: found["status"] == "EXECUTED")
        self._show(f"the resting order is filled by {origin} order flow", order, "EXECUTED")

    def _place(self, title: str, expected: str, *, quantity: int, **terms: Any) -> dict[str, Any]:
        body = {
            "instrument_id": INSTRUMENT,
            "order_type": "LIMIT",
            "transaction_type": "BUY",
            "product": "CNC",
            "validity": "DAY",
            "quantity": quantity,
            "idempotency_key": str(uuid.uuid4()),
        } | terms
        began = time.perf_counter()
        answer = self._http.post("/api/v1/orders", json=body)
        milliseconds = (time.perf_counter() - began) * 1000
        answer.raise_for_status()
        order_id = answer.json()["order_id"]
        order = self._until(order_id, lambda found: found["status"] == expected)
        self._show(f"{title}: acknowledged in {milliseconds:.1f} ms", order, expected)
        return order

    def _cancel(self, order_id: str) -> None:
        self._http.delete(f"/api/v1/orders/{order_id}").raise_for_status()
        order = self._until(order_id, lambda found: found["status"] == "CANCELLED")
        self._show("the resting order is cancelled", order, "CANCELLED")

    def _until(self, order_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            order: dict[str, Any] = self._get(f"/api/v1/orders/{order_id}")
            if reached(order) or time.monotonic() > deadline:
                return order
            time.sleep(0.02)

    def _show(self, title: str, order: dict[str, Any], expected: str) -> None:
        if order["status"] != expected:
            self._faults.append(f"{title}: {order['status']}, expected {expected}")
        table = Table(title=f"{title} -> {order['status']}", title_justify="left", title_style="bold")
        for column in ("seq", "time (UTC)", "event", "status", "what was said"):
            table.add_column(column)
        known = {"seq", "event", "status", "timestamp", "type", "order_id"}
        for entry in order["history"]:
            said = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in known and value)
            moment = entry["timestamp"][11:-1]
            table.add_row(str(entry["seq"]), moment, entry["event"], entry["status"] or "", said)
        _console.print(table)
        wire = messages_of(self._settings.data_dir, order["order_id"])
        _console.print("on the wire:" if wire else "nothing of it was ever on the wire")
        _console.print(*map(wire_message, wire), "", sep="\n")

    def _books(self) -> dict[str, int]:
        holdings = {row["instrument_id"]: row for row in self._get("/api/v1/portfolio/holdings")["holdings"]}
        margins = self._get("/api/v1/portfolio/margins")
        held = {f"{i} held": holdings[i]["quantity"] for i in (INSTRUMENT, FLOW_INSTRUMENT)}
        return held | {
            "available cash": paise(margins["available_cash"]),
            "used margin": paise(margins["used_margin"]),
            "blocked margin": paise(margins["blocked_margin"]),
        }

    def _compare(self, before: dict[str, int], bought: dict[str, str]) -> None:
        traded = {instrument: self._traded(order_id) for instrument, order_id in bought.items()}
        value = sum(spent for _, spent in traded.values())
        change = {f"{instrument} held": quantity for instrument, (quantity, _) in traded.items()}
        change |= {"available cash": -value, "used margin": value, "blocked margin": 0}
        expected = {name: before[name] + change[name] for name in before}
        deadline = time.monotonic() + ANSWER_SECONDS
        while (after := self._books()) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        table = Table(
            title="the books beside the exchange's trade file", title_justify="left", title_style="bold"
        )
        for column in ("", "before", "the file says", "after"):
            table.add_column(column, justify="right")
        for name in before:
            show = str if name.endswith("held") else rupees
            sign = "+" if change[name] >= 0 else ""
            table.add_row(name, show(before[name]), f"{sign}{show(change[name])}", show(after[name]))
            if after[name] != expected[name]:
                self._faults.append(f"{name} is {show(after[name])}, the file says {show(expected[name])}")
        _console.print(table)

    def _traded(self, order_id: str) -> tuple[int, int]:
        """Quantity and value of an order's trades in the exchange's own file."""
        files = trade_file_paths(self._settings.trade_files, "NSE")
        legs = [leg for path in files for leg in read_trade_file(path) if leg.order_id == order_id]
        return sum(leg.quantity for leg in legs), sum(leg.quantity * leg.price for leg in legs)

    def _get(self, path: str, **query: str) -> Any:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()


def _flow() -> tuple[list[Message], str]:
    """The flow that fills the resting order, and where it is from."""
    folder = Path(os.environ.get("HUNDI_MARKET_DATA", "../shared/data")) / "orderflow"
    recorded = next(iter(sorted(folder.glob("*message_50*.csv.gz"))), None)
    if recorded is not None:
        return read_flow(recorded)[:FLOW_EVENTS], "recorded"
    return list(_seeded_flow()), "seeded"


def _seeded_flow() -> Iterator[Message]:
    """Sellers who step down a tick at a time until they are well below the resting order."""
    chance = random.Random(INSTRUMENT)
    for number in range(2 * REST_TICKS):
        size = chance.randint(1, 9)
        yield Message(number * 10**8, MessageKind.NEW, number + 1, size, -number, Side.SELL)
